package cdctail.dumper;

import java.nio.ByteBuffer;
import java.util.Iterator;
import java.util.List;
import java.util.Map;

/** Maps, lists, strings, numbers and booleans as one line of JSON. */
final class Json
{
    private static final char[] HEX = "0123456789abcdef".toCharArray();

    private Json()
    {
    }

    static String hex(ByteBuffer bytes)
    {
        StringBuilder out = new StringBuilder(bytes.remaining() * 2);
        for (int i = bytes.position(); i < bytes.limit(); i++)
        {
            byte b = bytes.get(i);
            out.append(HEX[b >> 4 & 15]).append(HEX[b & 15]);
        }
        return out.toString();
    }

    static String line(Map<String, Object> object)
    {
        StringBuilder out = new StringBuilder();
        write(object, out);
        return out.toString();
    }

    private static void write(Object value, StringBuilder out)
    {
        if (value instanceof Map)
        {
            String separator = "{";
            for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet())
            {
                out.append(separator);
                string((String) entry.getKey(), out);
                out.append(':');
                write(entry.getValue(), out);
                separator = ",";
            }
            out.append(separator.equals("{") ? "{}" : "}");
        }
        else if (value instanceof List)
        {
            out.append('[');
            for (Iterator<?> items = ((List<?>) value).iterator(); items.hasNext();)
            {
                write(items.next(), out);
                if (items.hasNext())
                    out.append(',');
            }
            out.append(']');
        }
        else if (value instanceof String)
            string((String) value, out);
        else
            out.append(value);
    }

    private static void string(String text, StringBuilder out)
    {
        out.append('"');
        for (int i = 0; i < text.length(); i++)
        {
            char c = text.charAt(i);
            if (c == '"' || c == '\\')
                out.append('\\').append(c);
            else if (c < ' ')
                out.append(String.format("\\u%04x", (int) c));
            else
                out.append(c);
        }
        out.append('"');
    }
}
