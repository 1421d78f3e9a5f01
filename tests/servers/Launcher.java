// Starts one node of OpenSearch from its jars: `java -cp … Launcher HOME PLUGIN…`; HOME/config has its settings.
// The installation replaces ROOT by the name of the server's root package, so that Elasticsearch has the same launcher.

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import ROOT.common.settings.Settings;
import ROOT.node.InternalSettingsPreparer;
import ROOT.node.Node;
import ROOT.plugins.Plugin;

public class Launcher extends Node {
    // This constructor of Node is protected: it takes plugins by class, where the official start unpacks them from zips.
    Launcher(Settings settings, Path home, List<Class<? extends Plugin>> plugins) {
        super(InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), home.resolve("config"), () -> "node"),
                plugins, false);
    }

    public static void main(String[] arguments) throws Exception {
        Path home = Path.of(arguments[0]);
        Settings settings = Settings.builder().put("path.home", home.toString()).build();
        List<Class<? extends Plugin>> plugins = new ArrayList<>();
        for (String name : List.of(arguments).subList(1, arguments.length)) {
            plugins.add(Class.forName(name).asSubclass(Plugin.class));
        }
        Launcher node = new Launcher(settings, home, plugins);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.close();
            } catch (Exception error) {
                error.printStackTrace();
            }
        }));
        node.start();
        Thread.currentThread().join(); // for ever: all threads of the node are daemons
    }
}
