package cdctail.dumper;

import java.io.PrintStream;
import java.util.Arrays;

/**
 * Prints what Cassandra's CommitLogReader says about segments: one line of JSON per entry.
 *
 * Arguments: the file to write, then the segments in the order of their ids.
 */
public final class Dump
{
    private Dump()
    {
    }

    public static void main(String[] arguments) throws Exception
    {
        Version.initialize();
        Tables tables = new Tables();
        try (PrintStream out = new PrintStream(arguments[0], "UTF-8"))
        {
            for (String segment : Arrays.asList(arguments).subList(1, arguments.length))
            {
                SegmentReader reader = new SegmentReader(tables, out);
                Version.read(reader, reader, segment);
            }
        }
        System.exit(0); // Cassandra's own threads would keep the process
    }
}
