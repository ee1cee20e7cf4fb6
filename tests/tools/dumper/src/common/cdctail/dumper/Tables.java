package cdctail.dumper;

import java.util.HashMap;
import java.util.Map;
import java.util.UUID;

import org.apache.cassandra.db.Mutation;
import org.apache.cassandra.db.partitions.PartitionUpdate;

/** Keeps Cassandra's schema as the log tells it, so that its reader can decode what follows. */
final class Tables
{
    private final SchemaRows rows = new SchemaRows();
    private final Map<UUID, String> names = new HashMap<>();

    /** To be called with every mutation, in log order. A dropped table stays known for mutations that come late. */
    void learn(Mutation mutation)
    {
        for (String keyspace : rows.learn(mutation))
        {
            if (keyspace.equals("system") || keyspace.equals("system_schema"))
                continue; // hard-coded in Cassandra
            for (TableSketch table : TableSketch.of(rows, keyspace))
            {
                Version.load(table);
                names.put(table.id, table.keyspace + "." + table.name);
            }
        }
    }

    String qualifiedName(PartitionUpdate update)
    {
        String name = names.get(Version.tableId(update));
        return name == null ? Version.keyspaceName(update) + "." + Version.tableName(update) : name;
    }
}
