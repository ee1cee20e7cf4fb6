package cdctail.dumper;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;

import org.apache.cassandra.db.Mutation;
import org.apache.cassandra.db.marshal.UTF8Type;
import org.apache.cassandra.db.partitions.PartitionUpdate;
import org.apache.cassandra.db.rows.Cell;
import org.apache.cassandra.db.rows.ColumnData;
import org.apache.cassandra.db.rows.Row;
import org.apache.cassandra.db.rows.RowIterator;
import org.apache.cassandra.db.rows.UnfilteredRowIterator;

/** The live rows of `system_schema` as of the last mutation given to {@link #learn}: merged by Cassandra's own code. */
final class SchemaRows
{
    private final Map<String, List<PartitionUpdate>> updates = new HashMap<>();

    /** Takes in what the mutation says about the schema; returns the keyspaces it touches. */
    Set<String> learn(Mutation mutation)
    {
        Set<String> touched = new LinkedHashSet<>();
        if (!mutation.getKeyspaceName().equals("system_schema"))
            return touched;
        for (PartitionUpdate update : mutation.getPartitionUpdates())
        {
            String keyspace = text(update.partitionKey().getKey());
            updates.computeIfAbsent(Version.tableName(update) + "/" + keyspace, key -> new ArrayList<>()).add(update);
            touched.add(keyspace);
        }
        return touched;
    }

    /** Clustering -> cells by column name, of one `system_schema` table and one keyspace. */
    Map<List<String>, Map<String, ByteBuffer>> of(String table, String keyspace)
    {
        List<PartitionUpdate> known = updates.get(table + "/" + keyspace);
        if (known == null)
            return Collections.emptyMap();
        Map<List<String>, Map<String, ByteBuffer>> found = new LinkedHashMap<>();
        List<UnfilteredRowIterator> partitions = new ArrayList<>();
        for (PartitionUpdate update : known)
            partitions.add(update.unfilteredIterator());
        try (RowIterator rows = Version.live(partitions))
        {
            while (rows.hasNext())
            {
                Row row = rows.next();
                List<String> clustering = new ArrayList<>();
                for (int i = 0; i < row.clustering().size(); i++)
                    clustering.add(text(Version.value(row.clustering(), i)));
                Map<String, ByteBuffer> cells = new HashMap<>();
                for (ColumnData data : row)
                    cells.put(data.column().name.toString(), Version.value((Cell) data));
                found.put(clustering, cells);
            }
        }
        return found;
    }

    static String text(ByteBuffer value)
    {
        return value == null ? null : UTF8Type.instance.compose(value);
    }

    static UUID uuid(ByteBuffer value)
    {
        return new UUID(value.getLong(value.position()), value.getLong(value.position() + 8));
    }

    /** The elements of a frozen list or set of text. */
    static List<String> list(ByteBuffer value)
    {
        List<String> found = new ArrayList<>();
        if (value == null)
            return found;
        ByteBuffer rest = value.duplicate();
        for (int left = rest.getInt(); left > 0; left--)
        {
            byte[] element = new byte[rest.getInt()];
            rest.get(element);
            found.add(text(ByteBuffer.wrap(element)));
        }
        return found;
    }

    static Set<String> texts(ByteBuffer value)
    {
        return new LinkedHashSet<>(list(value));
    }
}
