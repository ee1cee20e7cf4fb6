package cdctail.dumper;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

import org.apache.cassandra.db.ClusteringPrefix;
import org.apache.cassandra.db.DeletionTime;
import org.apache.cassandra.db.LivenessInfo;
import org.apache.cassandra.db.Mutation;
import org.apache.cassandra.db.partitions.PartitionUpdate;
import org.apache.cassandra.db.rows.Cell;
import org.apache.cassandra.db.rows.ColumnData;
import org.apache.cassandra.db.rows.ComplexColumnData;
import org.apache.cassandra.db.rows.RangeTombstoneMarker;
import org.apache.cassandra.db.rows.Row;
import org.apache.cassandra.db.rows.Unfiltered;
import org.apache.cassandra.db.rows.UnfilteredRowIterator;

/** A mutation as Cassandra's reader gives it, in the form that README.md documents. */
final class MutationJson
{
    private final Tables tables;

    MutationJson(Tables tables)
    {
        this.tables = tables;
    }

    List<Object> updates(Mutation mutation)
    {
        List<Object> found = new ArrayList<>();
        for (PartitionUpdate update : mutation.getPartitionUpdates())
            found.add(update(update));
        return found;
    }

    private Map<String, Object> update(PartitionUpdate update)
    {
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("table", tables.qualifiedName(update));
        found.put("id", Version.tableId(update).toString());
        found.put("key", Json.hex(update.partitionKey().getKey()));
        try (UnfilteredRowIterator partition = update.unfilteredIterator())
        {
            if (!partition.partitionLevelDeletion().isLive())
                found.put("deletion", deletion(partition.partitionLevelDeletion()));
            if (!partition.staticRow().isEmpty())
                found.put("static", row(partition.staticRow()));
            List<Object> unfiltereds = new ArrayList<>();
            while (partition.hasNext())
            {
                Unfiltered unfiltered = partition.next();
                unfiltereds.add(unfiltered.isRow() ? row((Row) unfiltered) : marker((RangeTombstoneMarker) unfiltered));
            }
            if (!unfiltereds.isEmpty())
                found.put("unfiltereds", unfiltereds);
        }
        return found;
    }

    private static Map<String, Object> row(Row row)
    {
        Map<String, Object> found = new LinkedHashMap<>();
        if (!row.isStatic())
            found.put("clustering", values(row.clustering()));
        LivenessInfo liveness = row.primaryKeyLivenessInfo();
        if (!liveness.isEmpty())
        {
            Map<String, Object> info = new LinkedHashMap<>();
            info.put("writetime_us", liveness.timestamp());
            if (liveness.isExpiring())
            {
                info.put("ttl_seconds", liveness.ttl());
                info.put("local_deletion_seconds", liveness.localExpirationTime());
            }
            found.put("liveness", info);
        }
        if (!row.deletion().isLive())
        {
            Map<String, Object> deletion = deletion(row.deletion().time());
            if (row.deletion().isShadowable())
                deletion.put("shadowable", true);
            found.put("deletion", deletion);
        }
        List<Object> complexDeletions = new ArrayList<>();
        List<Object> cells = new ArrayList<>();
        for (ColumnData data : row)
        {
            if (data.column().isSimple())
            {
                cells.add(cell((Cell) data));
                continue;
            }
            ComplexColumnData complex = (ComplexColumnData) data;
            if (!complex.complexDeletion().isLive())
            {
                Map<String, Object> deletion = new LinkedHashMap<>();
                deletion.put("column", complex.column().name.toString());
                deletion.putAll(deletion(complex.complexDeletion()));
                complexDeletions.add(deletion);
            }
            for (Cell element : complex)
                cells.add(cell(element));
        }
        if (!complexDeletions.isEmpty())
            found.put("complex_deletions", complexDeletions);
        if (!cells.isEmpty())
            found.put("cells", cells);
        return found;
    }

    private static Map<String, Object> cell(Cell cell)
    {
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("column", cell.column().name.toString());
        if (cell.path() != null)
            found.put("path", Json.hex(cell.path().get(0)));
        found.put("writetime_us", cell.timestamp());
        if (cell.isExpiring())
            found.put("ttl_seconds", cell.ttl());
        if (cell.isExpiring() || cell.isTombstone())
            found.put("local_deletion_seconds", cell.localDeletionTime());
        if (cell.isTombstone())
            found.put("tombstone", true);
        else
            found.put("value", Json.hex(Version.value(cell)));
        return found;
    }

    private static Map<String, Object> marker(RangeTombstoneMarker marker)
    {
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("marker", marker.clustering().kind().toString());
        found.put("values", values(marker.clustering()));
        if (marker.isClose(false))
            found.put("closes", deletion(marker.closeDeletionTime(false)));
        if (marker.isOpen(false))
            found.put("opens", deletion(marker.openDeletionTime(false)));
        return found;
    }

    private static Map<String, Object> deletion(DeletionTime deletion)
    {
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("writetime_us", deletion.markedForDeleteAt());
        found.put("local_deletion_seconds", deletion.localDeletionTime());
        return found;
    }

    private static List<Object> values(ClusteringPrefix prefix)
    {
        List<Object> found = new ArrayList<>();
        for (int i = 0; i < prefix.size(); i++)
        {
            ByteBuffer value = Version.value(prefix, i);
            found.add(value == null ? null : Json.hex(value));
        }
        return found;
    }
}
