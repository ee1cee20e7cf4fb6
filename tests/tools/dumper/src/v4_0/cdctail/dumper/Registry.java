package cdctail.dumper;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;

import org.apache.cassandra.schema.KeyspaceMetadata;
import org.apache.cassandra.schema.KeyspaceParams;
import org.apache.cassandra.schema.Schema;

/** Makes tables known to the schema of 4.0, 4.1 and 5.0. */
final class Registry
{
    private Registry()
    {
    }

    static void initialize()
    {
    }

    /** Each table goes into a keyspace of its own: a dropped table and its successor share a name. */
    static void load(TableSketch table)
    {
        String keyspace = "of_" + table.id.toString().replace("-", "");
        try
        {
            Method load = Schema.class.getDeclaredMethod("load", KeyspaceMetadata.class); // private from 4.1 on
            load.setAccessible(true);
            load.invoke(Schema.instance,
                        KeyspaceMetadata.create(keyspace,
                                                KeyspaceParams.local(),
                                                org.apache.cassandra.schema.Tables.of(Metadata.of(table))));
        }
        catch (InvocationTargetException e)
        {
            throw new IllegalStateException(table.keyspace + "." + table.name, e.getCause());
        }
        catch (ReflectiveOperationException e)
        {
            throw new IllegalStateException(e);
        }
    }
}
