import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.opensearch.Version;
import org.opensearch.common.logging.LogConfigurator;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.plugins.PluginInfo;

/**
 * Starts one OpenSearch node inside this JVM: {@code OpenSearchLaunch HOME SETTINGS}.
 *
 * <p>SETTINGS is a properties file whose folder is the node's configuration folder. The HTTP module
 * comes from the class path; there are no others.
 */
public final class OpenSearchLaunch extends Node {
    private OpenSearchLaunch(Environment environment, Collection<PluginInfo> plugins) {
        super(environment, plugins, false);
    }

    public static void main(String[] args) throws Exception {
        Path home = Path.of(args[0]).toAbsolutePath();
        Path file = Path.of(args[1]).toAbsolutePath();
        Properties properties = new Properties();
        try (var reader = Files.newBufferedReader(file)) {
            properties.load(reader);
        }
        Map<String, String> settings = new HashMap<>();
        properties.stringPropertyNames().forEach(k -> settings.put(k, properties.getProperty(k)));
        settings.put("path.home", home.toString());
        LogConfigurator.setNodeName("local");

        Environment environment = InternalSettingsPreparer.prepareEnvironment(
            Settings.EMPTY, settings, file.getParent(), () -> "local");
        String module = "org.opensearch.transport.Netty4ModulePlugin";
        Node node = new OpenSearchLaunch(environment, List.of(new PluginInfo(
            module, "HTTP", "NA", Version.CURRENT, "21", module, null, List.of(), false)));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.close();
            } catch (Exception error) {
                error.printStackTrace();
            }
        }));
        node.start();
        System.out.println("OpenSearch started");
        Thread.currentThread().join();
    }
}
