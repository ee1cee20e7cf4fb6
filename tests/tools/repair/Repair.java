import com.sun.tools.attach.VirtualMachine;
import java.util.List;
import java.util.Map;
import javax.management.MBeanServerConnection;
import javax.management.ObjectName;
import javax.management.remote.JMXConnector;
import javax.management.remote.JMXConnectorFactory;
import javax.management.remote.JMXServiceURL;

/** `nodetool repair -full KEYSPACE` of the node with a process id, without an open JMX port. */
public class Repair {
    public static void main(String[] arguments) throws Exception {
        VirtualMachine node = VirtualMachine.attach(arguments[0]);
        String address = node.startLocalManagementAgent();
        node.detach();
        try (JMXConnector connector = JMXConnectorFactory.connect(new JMXServiceURL(address))) {
            MBeanServerConnection beans = connector.getMBeanServerConnection();
            ObjectName storage = new ObjectName("org.apache.cassandra.db:type=StorageService");
            Object command = beans.invoke(
                    storage,
                    "repairAsync",
                    new Object[] {arguments[1], Map.of("incremental", "false")},
                    new String[] {"java.lang.String", "java.util.Map"});
            while (true) {
                Thread.sleep(500);
                List<?> status = (List<?>) beans.invoke(
                        storage,
                        "getParentRepairStatus",
                        new Object[] {command},
                        new String[] {"int"});
                if (status != null && !status.isEmpty() && !"IN_PROGRESS".equals(status.get(0))) {
                    System.out.println(status);
                    System.exit("COMPLETED".equals(status.get(0)) ? 0 : 1);
                }
            }
        }
    }
}
