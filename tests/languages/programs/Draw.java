// SPDX-License-Identifier: Apache-2.0
// See README.md. The adapter is Java's option -javaagent, and not seen here.
import java.io.IOException;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.SecureRandom;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Supplier;

public final class Draw {
	private static final int WARM = 20;
	private static final int DRAWS = 32;
	private static final int LEN = 16;
	private static final Map<String, Supplier<byte[]>> SOURCES = new LinkedHashMap<>();

	private static Supplier<byte[]> of(SecureRandom random) {
		return () -> {
			byte[] bytes = new byte[LEN];

			random.nextBytes(bytes);
			return bytes;
		};
	}

	private static byte[] pair(long first, long second) {
		return ByteBuffer.allocate(LEN).putLong(first).putLong(second).array();
	}

	private static byte[] uuid() {
		UUID id = UUID.randomUUID();

		return pair(id.getMostSignificantBits(), id.getLeastSignificantBits());
	}

	private static void draw(StringBuilder text) {
		SOURCES.forEach((name, source) ->
			text.append(String.format("value %s %032x%n", name, new BigInteger(1, source.get()))));
	}

	private static long generation(FileChannel counter) throws IOException {
		ByteBuffer word = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);

		counter.read(word, 0);
		return word.getLong(0);
	}

	public static void main(String[] arguments) throws IOException, GeneralSecurityException {
		FileChannel counter = FileChannel.open(Path.of(arguments[0]));
		long before = generation(counter);

		SOURCES.put("SecureRandom", of(new SecureRandom()));
		SOURCES.put("UUID", Draw::uuid);
		SOURCES.put("DRBG", of(SecureRandom.getInstance("DRBG")));
		SOURCES.put("SHA1PRNG", of(SecureRandom.getInstance("SHA1PRNG")));
		SOURCES.put("ThreadLocalRandom", () -> pair(ThreadLocalRandom.current().nextLong(), ThreadLocalRandom.current().nextLong()));
		for (int i = 0; i < WARM; i++)
			draw(new StringBuilder());
		System.out.println("READY");
		while (generation(counter) == before)
			draw(new StringBuilder());
		StringBuilder drawn = new StringBuilder();

		for (int i = 0; i < DRAWS; i++)
			draw(drawn);
		System.out.print(drawn + "DONE\n");
	}
}
