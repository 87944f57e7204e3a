// SPDX-License-Identifier: Apache-2.0
package snapsafe;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.security.ProviderException;
import java.security.SecureRandom;
import java.security.Security;
import java.util.Arrays;
import java.util.UUID;

/**
 * The jar, with the provider put in place by its agent. TAP; a framework would have to be downloaded.
 */
public final class SnapsafeTest {
	private interface Body {
		void run() throws Exception;
	}

	private static int count;
	private static boolean failed;

	private static void test(String name, Body body) {
		count++;
		try {
			body.run();
			System.out.println("ok " + count + " - " + name);
		} catch (Exception | AssertionError e) {
			failed = true;
			System.out.println("not ok " + count + " - " + name);
			e.printStackTrace(System.out);
		}
	}

	private static void expect(Object wanted, Object got) {
		if (!wanted.equals(got))
			throw new AssertionError("wanted " + wanted + ", got " + got);
	}

	/** Gives a few bytes a call, as a device may, and counts what it has given. */
	private static final class Counted extends InputStream {
		private int given;

		@Override
		public int read() {
			return given++ & 0xff;
		}

		@Override
		public int read(byte[] bytes, int offset, int length) {
			int piece = Math.min(3, length);

			for (int i = 0; i < piece; i++)
				bytes[offset + i] = (byte)read();
			return piece;
		}
	}

	private static byte[] draw(KernelRandom random, int length) {
		byte[] bytes = new byte[length];

		random.engineNextBytes(bytes);
		return bytes;
	}

	private static void keepsNothing() {
		Counted device = new Counted();
		KernelRandom random = new KernelRandom(device);

		expect("[0, 1, 2, 3, 4, 5, 6]", Arrays.toString(draw(random, 7)));
		expect(7, device.given);
		expect("[7, 8]", Arrays.toString(random.engineGenerateSeed(2)));
		random.engineSetSeed(new byte[] {1, 2, 3});
		expect("[9]", Arrays.toString(draw(random, 1)));
		expect("[]", Arrays.toString(draw(random, 0)));
		expect(10, device.given);
	}

	private static void endIsAnError() {
		KernelRandom random = new KernelRandom(new ByteArrayInputStream(new byte[5]));

		try {
			draw(random, 6);
		} catch (ProviderException e) {
			expect("/dev/urandom cannot be read", e.getMessage());
			return;
		}
		throw new AssertionError("six bytes of five");
	}

	private static void isTheDefault() throws Exception {
		expect("Snapsafe", Security.getProviders()[0].getName());
		expect("Kernel", new SecureRandom().getAlgorithm());
		expect("Kernel", SecureRandom.getInstance("Kernel").getAlgorithm());
		expect(4, UUID.randomUUID().version());
	}

	private static void survivesSerialisation() throws Exception {
		ByteArrayOutputStream text = new ByteArrayOutputStream();
		byte[] bytes = new byte[16];

		new ObjectOutputStream(text).writeObject(new SecureRandom());
		SecureRandom back = (SecureRandom)new ObjectInputStream(new ByteArrayInputStream(text.toByteArray())).readObject();

		back.nextBytes(bytes);
		expect(false, Arrays.equals(bytes, new byte[16]));
	}

	private static void threadsShareIt() throws Exception {
		SecureRandom random = new SecureRandom();
		byte[][] drawn = new byte[8][1 << 16];
		Thread[] threads = new Thread[drawn.length];

		for (int i = 0; i < threads.length; i++) {
			byte[] mine = drawn[i];

			threads[i] = new Thread(() -> random.nextBytes(mine));
			threads[i].start();
		}
		for (Thread thread : threads)
			thread.join();
		for (int i = 0; i < drawn.length; i++)
			for (int j = 0; j < i; j++)
				expect(false, Arrays.equals(drawn[i], drawn[j]));
	}

	public static void main(String[] arguments) {
		test("each call reads its bytes, and no more", SnapsafeTest::keepsNothing);
		test("a device that ends is an error", SnapsafeTest::endIsAnError);
		test("with the agent it is the default", SnapsafeTest::isTheDefault);
		test("it survives serialisation", SnapsafeTest::survivesSerialisation);
		test("threads share it", SnapsafeTest::threadsShareIt);
		System.out.println("1.." + count);
		System.exit(failed ? 1 : 0);
	}
}
