package cdctail.oracle;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

import org.apache.cassandra.config.DatabaseDescriptor;
import org.apache.cassandra.db.marshal.AbstractType;
import org.apache.cassandra.db.marshal.TypeParser;
import org.apache.cassandra.transport.ProtocolVersion;
import org.apache.cassandra.utils.ByteBufferUtil;

/**
 * Answers questions about values with Cassandra's own types. A line in: the type's class, then one value (its JSON
 * is asked for) or two (their order is), all separated by tabs, values in hexadecimal. A line out: the answer, or
 * "!" and the exception.
 */
public final class ValueOracle
{
    public static void main(String[] args) throws Exception
    {
        DatabaseDescriptor.clientInitialization();
        PrintStream out = new PrintStream(System.out, false, "UTF-8");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Map<String, AbstractType<?>> types = new HashMap<>();
        for (String line = in.readLine(); line != null; line = in.readLine())
        {
            String[] parts = line.split("\t", -1);
            String answer;
            try
            {
                AbstractType<?> type = types.get(parts[0]);
                if (type == null)
                {
                    type = TypeParser.parse(parts[0]);
                    types.put(parts[0], type);
                }
                ByteBuffer first = ByteBufferUtil.hexToBytes(parts[1]);
                type.validate(first);
                if (parts.length == 2)
                    answer = type.toJSONString(first, ProtocolVersion.V4);
                else
                    answer = Integer.toString(Integer.signum(type.compare(first, ByteBufferUtil.hexToBytes(parts[2]))));
            }
            catch (Throwable e)
            {
                answer = "!" + e;
            }
            out.println(answer.replace("\n", " "));
        }
        out.flush();
        System.exit(0);
    }
}
