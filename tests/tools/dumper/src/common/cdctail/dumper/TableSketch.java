package cdctail.dumper;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;

/** What `system_schema` says about one table, before a version's own metadata class is made of it. */
final class TableSketch
{
    static final class Column
    {
        final String name;
        final String kind;
        final int position;
        final boolean descending;
        final String type;
        final long droppedMicros;

        Column(String name, String kind, int position, boolean descending, String type, long droppedMicros)
        {
            this.name = name;
            this.kind = kind;
            this.position = position;
            this.descending = descending;
            this.type = type;
            this.droppedMicros = droppedMicros;
        }
    }

    /** A user type: field names and field types, in order. */
    static final class Type
    {
        final List<String> names;
        final List<String> types;

        Type(List<String> names, List<String> types)
        {
            this.names = names;
            this.types = types;
        }
    }

    final String keyspace;
    final String name;
    final UUID id;
    final Set<String> flags;
    final boolean view;
    final List<Column> columns;
    final List<Column> dropped;
    final Map<String, Type> types;

    private TableSketch(SchemaRows rows, String keyspace, String name, Map<String, ByteBuffer> cells, boolean view)
    {
        this.keyspace = keyspace;
        this.name = name;
        this.view = view;
        this.id = SchemaRows.uuid(cells.get("id"));
        this.flags = SchemaRows.texts(cells.get("flags"));
        this.columns = new ArrayList<>();
        this.dropped = new ArrayList<>();
        this.types = new TreeMap<>();
        for (Map.Entry<List<String>, Map<String, ByteBuffer>> row : rows.of("columns", keyspace).entrySet())
            if (row.getKey().get(0).equals(name))
                columns.add(new Column(row.getKey().get(1),
                                       SchemaRows.text(row.getValue().get("kind")),
                                       row.getValue().get("position").duplicate().getInt(),
                                       "desc".equals(SchemaRows.text(row.getValue().get("clustering_order"))),
                                       SchemaRows.text(row.getValue().get("type")),
                                       0));
        columns.sort(Comparator.comparingInt(column -> column.position));
        for (Map.Entry<List<String>, Map<String, ByteBuffer>> row : rows.of("dropped_columns", keyspace).entrySet())
            if (row.getKey().get(0).equals(name))
                dropped.add(new Column(row.getKey().get(1),
                                       row.getValue().containsKey("kind") ? SchemaRows.text(row.getValue().get("kind")) : "regular",
                                       -1,
                                       false,
                                       SchemaRows.text(row.getValue().get("type")),
                                       row.getValue().get("dropped_time").duplicate().getLong() * 1000));
        for (Map.Entry<List<String>, Map<String, ByteBuffer>> row : rows.of("types", keyspace).entrySet())
            types.put(row.getKey().get(0),
                      new Type(SchemaRows.list(row.getValue().get("field_names")), SchemaRows.list(row.getValue().get("field_types"))));
    }

    /** All tables and views of a keyspace that have their id and their columns. */
    static List<TableSketch> of(SchemaRows rows, String keyspace)
    {
        List<TableSketch> found = new ArrayList<>();
        Map<String, Boolean> sources = new HashMap<>();
        sources.put("tables", false);
        sources.put("views", true);
        sources.forEach((source, view) -> rows.of(source, keyspace).forEach((clustering, cells) -> {
            if (cells.containsKey("id"))
                found.add(new TableSketch(rows, keyspace, clustering.get(0), cells, view));
        }));
        found.removeIf(table -> table.columns.isEmpty());
        return found;
    }
}
