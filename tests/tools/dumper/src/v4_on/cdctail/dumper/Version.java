package cdctail.dumper;

import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.UUID;

import org.apache.cassandra.config.DatabaseDescriptor;
import org.apache.cassandra.db.ClusteringPrefix;
import org.apache.cassandra.db.commitlog.CommitLogReadHandler;
import org.apache.cassandra.db.commitlog.CommitLogReader;
import org.apache.cassandra.db.partitions.PartitionUpdate;
import org.apache.cassandra.db.rows.Cell;
import org.apache.cassandra.db.rows.RowIterator;
import org.apache.cassandra.db.rows.UnfilteredRowIterator;
import org.apache.cassandra.db.rows.UnfilteredRowIterators;

/** What differs between Cassandra's versions: here what is alike from 4.0 on. */
final class Version
{
    private Version()
    {
    }

    static void initialize()
    {
        DatabaseDescriptor.toolInitialization();
        Registry.initialize();
    }

    static void load(TableSketch table)
    {
        Registry.load(table);
    }

    /** Reads a segment; the class that names a file changed in 4.1. */
    static void read(CommitLogReader reader, CommitLogReadHandler handler, String segment) throws Exception
    {
        for (Method method : CommitLogReader.class.getMethods())
        {
            Class<?>[] types = method.getParameterTypes();
            if (!method.getName().equals("readCommitLogSegment") || types.length != 3)
                continue;
            Object file = types[1].getConstructor(String.class).newInstance(segment);
            method.invoke(reader, handler, file, true);
            return;
        }
        throw new IllegalStateException("this Cassandra has no CommitLogReader.readCommitLogSegment of three parameters");
    }

    /** The live rows of partitions merged. */
    static RowIterator live(List<UnfilteredRowIterator> partitions)
    {
        int now = (int) (System.currentTimeMillis() / 1000);
        return UnfilteredRowIterators.filter(UnfilteredRowIterators.merge(partitions), now);
    }

    static UUID tableId(PartitionUpdate update)
    {
        return update.metadata().id.asUUID();
    }

    static String tableName(PartitionUpdate update)
    {
        return update.metadata().name;
    }

    static String keyspaceName(PartitionUpdate update)
    {
        return update.metadata().keyspace;
    }

    static ByteBuffer value(Cell cell)
    {
        return cell.buffer();
    }

    static ByteBuffer value(ClusteringPrefix prefix, int index)
    {
        return prefix.bufferAt(index);
    }
}
