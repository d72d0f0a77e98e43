import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.index.IndexVersion;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginsLoader;

/**
 * Starts one Elasticsearch node inside this JVM: {@code EsLaunch HOME SETTINGS}.
 *
 * <p>HOME has a folder {@code modules}; SETTINGS is a properties file whose folder is the node's
 * configuration folder. The distribution's own main class wants its launcher, its native
 * controller and its keystore, none of which Maven artifacts carry.
 */
public final class EsLaunch {
    private EsLaunch() {}

    public static void main(String[] args) throws Exception {
        LogConfigurator.configureESLogging();
        Path home = Path.of(args[0]).toAbsolutePath();
        Path file = Path.of(args[1]).toAbsolutePath();
        Properties properties = new Properties();
        try (var reader = Files.newBufferedReader(file)) {
            properties.load(reader);
        }
        Map<String, String> settings = new HashMap<>();
        properties.stringPropertyNames().forEach(k -> settings.put(k, properties.getProperty(k)));
        settings.put("path.home", home.toString());

        Environment environment = InternalSettingsPreparer.prepareEnvironment(
            Settings.EMPTY, settings, file.getParent(), () -> "local");
        var modules = PluginsLoader.loadModulesBundles(home.resolve("modules"), false);
        PluginsLoader loader = PluginsLoader.createPluginsLoader(modules, Set.of(), Map.of());
        IndexVersion.current(); // its class must be initialised before the node's settings are read
        Node node = new Node(environment, loader);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.close();
            } catch (Exception error) {
                error.printStackTrace();
            }
        }));
        node.start();
        System.out.println("Elasticsearch started");
        Thread.currentThread().join();
    }
}
