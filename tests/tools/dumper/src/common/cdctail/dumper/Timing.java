package cdctail.dumper;

import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

import org.apache.cassandra.db.Mutation;
import org.apache.cassandra.db.commitlog.CommitLogDescriptor;
import org.apache.cassandra.db.commitlog.CommitLogReadHandler;
import org.apache.cassandra.db.commitlog.CommitLogReader;

/**
 * Times Cassandra's CommitLogReader on segments with a handler that only counts: one line of JSON per pass.
 *
 * Arguments: the file to write, the number of passes, a segment whose mutations define the tables (it is not timed),
 * then the segments to time.
 */
public final class Timing implements CommitLogReadHandler
{
    private final Tables tables;
    private long mutations;
    private long bytes;

    private Timing(Tables tables)
    {
        this.tables = tables;
    }

    public static void main(String[] arguments) throws Exception
    {
        Version.initialize();
        Version.read(new CommitLogReader(), new Timing(new Tables()), arguments[2]);
        List<String> segments = Arrays.asList(arguments).subList(3, arguments.length);
        ThreadMXBean thread = ManagementFactory.getThreadMXBean();
        try (PrintStream out = new PrintStream(arguments[0], "UTF-8"))
        {
            for (int pass = Integer.parseInt(arguments[1]); pass > 0; pass--)
            {
                Timing counting = new Timing(null);
                long cpu = thread.getCurrentThreadCpuTime();
                long wall = System.nanoTime();
                for (String segment : segments)
                    Version.read(new CommitLogReader(), counting, segment);
                Map<String, Object> line = new LinkedHashMap<>();
                line.put("wall_ns", System.nanoTime() - wall);
                line.put("cpu_ns", thread.getCurrentThreadCpuTime() - cpu);
                line.put("mutations", counting.mutations);
                line.put("mutation_bytes", counting.bytes);
                out.println(Json.line(line));
            }
        }
        System.exit(0); // Cassandra's own threads would keep the process
    }

    @Override
    public void handleMutation(Mutation mutation, int size, int entryLocation, CommitLogDescriptor descriptor)
    {
        mutations++;
        bytes += size;
        if (tables != null)
            tables.learn(mutation);
    }

    @Override
    public boolean shouldSkipSegmentOnError(CommitLogReadException exception)
    {
        throw new IllegalStateException(exception);
    }

    @Override
    public void handleUnrecoverableError(CommitLogReadException exception)
    {
        throw new IllegalStateException(exception);
    }
}
