import java.nio.file.Files;
import java.nio.file.Path;
import kafka.Kafka;
import kafka.tools.StorageTool;

/**
 * Formats Kafka's storage where that is still to do, then starts the broker, in one JVM:
 * {@code KafkaLaunch PROPERTIES DATA [FORMAT-ARGUMENT...]}.
 *
 * <p>Kafka's own scripts take two JVMs for it, which makes the first start half as slow again.
 */
public final class KafkaLaunch {
    private KafkaLaunch() {}

    public static void main(String[] args) throws Exception {
        if (!Files.exists(Path.of(args[1], "meta.properties"))) {
            String[] format = new String[args.length + 1];
            format[0] = "format";
            format[1] = "--config";
            format[2] = args[0];
            System.arraycopy(args, 2, format, 3, args.length - 2);
            int code = StorageTool.execute(format, System.out);
            if (code != 0) {
                System.exit(code);
            }
        }
        Kafka.main(new String[] {args[0]});
    }
}
