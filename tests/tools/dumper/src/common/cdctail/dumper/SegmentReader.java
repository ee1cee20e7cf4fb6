package cdctail.dumper;

import java.io.IOException;
import java.io.PrintStream;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;

import org.apache.cassandra.db.Mutation;
import org.apache.cassandra.db.commitlog.CommitLogDescriptor;
import org.apache.cassandra.db.commitlog.CommitLogPosition;
import org.apache.cassandra.db.commitlog.CommitLogReadHandler;
import org.apache.cassandra.db.commitlog.CommitLogReader;

/** Cassandra's CommitLogReader, printing one line per entry; adds only the entries that the reader passes over. */
final class SegmentReader extends CommitLogReader implements CommitLogReadHandler
{
    private final Tables tables;
    private final MutationJson json;
    private final PrintStream out;
    private final Map<String, Integer> passedOver = new HashMap<>();
    private Map<String, Object> line;

    SegmentReader(Tables tables, PrintStream out)
    {
        this.tables = tables;
        this.json = new MutationJson(tables);
        this.out = out;
    }

    @Override
    protected void readMutation(CommitLogReadHandler handler,
                                byte[] input,
                                int size,
                                CommitLogPosition minPosition,
                                int entryLocation,
                                CommitLogDescriptor descriptor) throws IOException
    {
        line = new LinkedHashMap<>();
        line.put("position", descriptor.id + ":" + entryLocation);
        line.put("size", size);
        super.readMutation(handler, input, size, minPosition, entryLocation, descriptor);
        // Cassandra counts a mutation of an unknown table and tells nobody.
        if (!line.containsKey("updates") && !line.containsKey("error"))
            line.put("unknown_table", unknownTable());
        out.println(Json.line(line));
        line = null;
    }

    /** The table whose count of passed-over mutations has grown since the last call. */
    private String unknownTable()
    {
        String found = null;
        for (Map.Entry<?, AtomicInteger> entry : getInvalidMutations())
        {
            String id = entry.getKey().toString();
            Integer count = entry.getValue().get();
            if (!count.equals(passedOver.put(id, count)))
                found = id;
        }
        return found;
    }

    @Override
    public void handleMutation(Mutation mutation, int size, int entryLocation, CommitLogDescriptor descriptor)
    {
        line.put("updates", json.updates(mutation));
        tables.learn(mutation);
    }

    @Override
    public boolean shouldSkipSegmentOnError(CommitLogReadException exception)
    {
        report(exception);
        return false;
    }

    @Override
    public void handleUnrecoverableError(CommitLogReadException exception)
    {
        report(exception);
    }

    private void report(CommitLogReadException exception)
    {
        if (line != null)
        {
            line.put("error", String.valueOf(exception.getMessage()));
            return;
        }
        Map<String, Object> damage = new LinkedHashMap<>();
        damage.put("error", String.valueOf(exception.getMessage()));
        out.println(Json.line(damage));
    }
}
