package cdctail.dumper;

import java.io.File;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;

import org.apache.cassandra.config.CFMetaData;
import org.apache.cassandra.config.ColumnDefinition;
import org.apache.cassandra.config.DatabaseDescriptor;
import org.apache.cassandra.config.Schema;
import org.apache.cassandra.db.ClusteringPrefix;
import org.apache.cassandra.db.commitlog.CommitLogReadHandler;
import org.apache.cassandra.db.commitlog.CommitLogReader;
import org.apache.cassandra.db.marshal.AbstractType;
import org.apache.cassandra.db.marshal.ReversedType;
import org.apache.cassandra.db.partitions.PartitionUpdate;
import org.apache.cassandra.db.rows.Cell;
import org.apache.cassandra.db.rows.RowIterator;
import org.apache.cassandra.db.rows.UnfilteredRowIterator;
import org.apache.cassandra.db.rows.UnfilteredRowIterators;
import org.apache.cassandra.dht.Murmur3Partitioner;
import org.apache.cassandra.schema.CQLTypeParser;
import org.apache.cassandra.schema.KeyspaceMetadata;
import org.apache.cassandra.schema.KeyspaceParams;
import org.apache.cassandra.schema.Types;

/** What differs between Cassandra's versions: here 3.11. */
final class Version
{
    private Version()
    {
    }

    static void initialize()
    {
        DatabaseDescriptor.toolInitialization();
    }

    /** Makes the table known to the schema, in a keyspace of its own: a dropped table and its successor share a name. */
    static void load(TableSketch table)
    {
        String keyspace = "of_" + table.id.toString().replace("-", "");
        KeyspaceMetadata known = Schema.instance.getKSMetaData(keyspace);
        if (known != null)
            known.tables.forEach(Schema.instance::unload);
        Schema.instance.load(KeyspaceMetadata.create(keyspace,
                                                     KeyspaceParams.local(),
                                                     org.apache.cassandra.schema.Tables.of(metadata(table, keyspace))));
    }

    private static CFMetaData metadata(TableSketch table, String keyspace)
    {
        Types.RawBuilder raw = Types.rawBuilder(table.keyspace);
        table.types.forEach((name, type) -> raw.add(name, type.names, type.types));
        Types types = raw.build();
        List<ColumnDefinition> columns = new ArrayList<>();
        for (TableSketch.Column column : table.columns)
            columns.add(column(table, keyspace, column, types));
        CFMetaData metadata = CFMetaData.create(keyspace,
                                                table.name,
                                                table.id,
                                                table.flags.contains("dense"),
                                                table.view || table.flags.contains("compound"),
                                                table.flags.contains("super"),
                                                table.flags.contains("counter"),
                                                table.view,
                                                columns,
                                                Murmur3Partitioner.instance);
        for (TableSketch.Column column : table.dropped)
            metadata.recordColumnDrop(column(table, keyspace, column, types), column.droppedMicros);
        return metadata;
    }

    private static ColumnDefinition column(TableSketch table, String keyspace, TableSketch.Column column, Types types)
    {
        AbstractType<?> type = CQLTypeParser.parse(table.keyspace, column.type, types);
        if (column.descending)
            type = ReversedType.getInstance(type);
        switch (column.kind)
        {
            case "partition_key":
                return ColumnDefinition.partitionKeyDef(keyspace, table.name, column.name, type, column.position);
            case "clustering":
                return ColumnDefinition.clusteringDef(keyspace, table.name, column.name, type, column.position);
            case "static":
                return ColumnDefinition.staticDef(keyspace, table.name, column.name, type);
            default:
                return ColumnDefinition.regularDef(keyspace, table.name, column.name, type);
        }
    }

    static void read(CommitLogReader reader, CommitLogReadHandler handler, String segment) throws Exception
    {
        reader.readCommitLogSegment(handler, new File(segment), true);
    }

    /** The live rows of partitions merged. */
    static RowIterator live(List<UnfilteredRowIterator> partitions)
    {
        int now = (int) (System.currentTimeMillis() / 1000);
        return UnfilteredRowIterators.filter(UnfilteredRowIterators.merge(partitions, now), now);
    }

    static UUID tableId(PartitionUpdate update)
    {
        return update.metadata().cfId;
    }

    static String tableName(PartitionUpdate update)
    {
        return update.metadata().cfName;
    }

    static String keyspaceName(PartitionUpdate update)
    {
        return update.metadata().ksName;
    }

    static ByteBuffer value(Cell cell)
    {
        return cell.value();
    }

    static ByteBuffer value(ClusteringPrefix prefix, int index)
    {
        return prefix.get(index);
    }
}
