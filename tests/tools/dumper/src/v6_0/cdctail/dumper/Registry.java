package cdctail.dumper;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.HashMap;
import java.util.Map;
import java.util.UUID;

import org.apache.cassandra.schema.Schema;
import org.apache.cassandra.schema.SchemaProvider;
import org.apache.cassandra.schema.TableId;
import org.apache.cassandra.schema.TableMetadata;
import org.apache.cassandra.tcm.ClusterMetadataService;

/** Makes tables known to 6.0, whose schema is that of the cluster's metadata: answers look-ups by id before it does. */
final class Registry
{
    private static final Map<UUID, TableMetadata> TABLES = new HashMap<>();

    private Registry()
    {
    }

    static void initialize()
    {
        ClusterMetadataService.initializeForClients();
        SchemaProvider own = Schema.instance;
        InvocationHandler handler = (proxy, method, arguments) -> {
            boolean byId = arguments != null && arguments.length == 1 && arguments[0] instanceof TableId;
            TableMetadata table = byId ? TABLES.get(((TableId) arguments[0]).asUUID()) : null;
            if (table != null && method.getReturnType() == TableMetadata.class)
                return table;
            try
            {
                return method.invoke(own, arguments);
            }
            catch (InvocationTargetException e)
            {
                throw e.getCause();
            }
        };
        Schema.instance = (SchemaProvider) Proxy.newProxyInstance(SchemaProvider.class.getClassLoader(),
                                                                  new Class<?>[]{ SchemaProvider.class },
                                                                  handler);
    }

    static void load(TableSketch table)
    {
        TABLES.put(table.id, Metadata.of(table));
    }
}
