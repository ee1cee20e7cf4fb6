package cdctail.dumper;

import org.apache.cassandra.cql3.ColumnIdentifier;
import org.apache.cassandra.db.marshal.AbstractType;
import org.apache.cassandra.db.marshal.BytesType;
import org.apache.cassandra.db.marshal.ReversedType;
import org.apache.cassandra.dht.Murmur3Partitioner;
import org.apache.cassandra.schema.CQLTypeParser;
import org.apache.cassandra.schema.ColumnMetadata;
import org.apache.cassandra.schema.TableId;
import org.apache.cassandra.schema.TableMetadata;
import org.apache.cassandra.schema.Types;

/** Cassandra's metadata of a table, from its sketch. */
final class Metadata
{
    private Metadata()
    {
    }

    static TableMetadata of(TableSketch table)
    {
        Types.RawBuilder raw = Types.rawBuilder(table.keyspace);
        table.types.forEach((name, type) -> raw.add(name, type.names, type.types));
        Types types = raw.build();
        TableMetadata.Builder builder = TableMetadata.builder(table.keyspace, table.name, TableId.fromUUID(table.id))
                                                     .partitioner(Murmur3Partitioner.instance);
        if (table.view)
            builder.kind(TableMetadata.Kind.VIEW);
        else
            builder.flags(TableMetadata.Flag.fromStringSet(table.flags));
        for (TableSketch.Column column : table.columns)
        {
            AbstractType<?> type = CQLTypeParser.parse(table.keyspace, column.type, types);
            ColumnIdentifier name = ColumnIdentifier.getInterned(column.name, true);
            switch (column.kind)
            {
                case "partition_key":
                    builder.addPartitionKeyColumn(name, type);
                    break;
                case "clustering":
                    builder.addClusteringColumn(name, column.descending ? ReversedType.getInstance(type) : type);
                    break;
                case "static":
                    builder.addStaticColumn(name, type);
                    break;
                default:
                    builder.addRegularColumn(name, type);
            }
        }
        for (TableSketch.Column column : table.dropped)
        {
            AbstractType<?> type = CQLTypeParser.parse(table.keyspace, column.type, types);
            builder.recordColumnDrop(columnOf(table, column, type), column.droppedMicros);
        }
        return builder.build();
    }

    /** A column that the table no longer has, from a table made for it alone: the factories differ per version. */
    private static ColumnMetadata columnOf(TableSketch table, TableSketch.Column column, AbstractType<?> type)
    {
        ColumnIdentifier name = ColumnIdentifier.getInterned(column.name, true);
        TableMetadata.Builder builder = TableMetadata.builder(table.keyspace, table.name, TableId.fromUUID(table.id))
                                                     .partitioner(Murmur3Partitioner.instance)
                                                     .addPartitionKeyColumn("key of " + column.name, BytesType.instance)
                                                     .addClusteringColumn("clustering of " + column.name, BytesType.instance);
        if (column.kind.equals("static"))
            builder.addStaticColumn(name, type);
        else
            builder.addRegularColumn(name, type);
        return builder.build().getColumn(name);
    }
}
