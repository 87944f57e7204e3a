// SPDX-License-Identifier: Apache-2.0
package snapsafe;

import java.io.EOFException;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.security.ProviderException;
import java.security.SecureRandomParameters;
import java.security.SecureRandomSpi;

/**
 * Random bytes from /dev/urandom, each time. The stream is read without a buffer, and has no state but its descriptor, which all
 * threads share.
 */
public final class KernelRandom extends SecureRandomSpi {
	private static final long serialVersionUID = 1;
	private static final String DEVICE = "/dev/urandom";

	/** Opened once: a program may have no descriptors left, or another root, when it needs bytes. */
	private static final class Device {
		private static final InputStream STREAM = open();

		private static InputStream open() {
			try {
				return new FileInputStream(DEVICE);
			} catch (IOException e) {
				throw new ProviderException(DEVICE + " cannot be opened", e);
			}
		}
	}

	private final transient InputStream source;

	/** For the provider. */
	public KernelRandom() {
		this(Device.STREAM);
	}

	/** As {@code SecureRandom.getInstance("Kernel", parameters)}: there are none. */
	public KernelRandom(SecureRandomParameters parameters) {
		this();
		if (parameters != null)
			throw new IllegalArgumentException("Kernel takes no parameters");
	}

	KernelRandom(InputStream source) {
		this.source = source;
	}

	/** What a caller adds could only make a difference to a generator that has a state. */
	@Override
	protected void engineSetSeed(byte[] seed) {
	}

	@Override
	protected void engineNextBytes(byte[] bytes) {
		int have = 0;

		try {
			while (have < bytes.length) {
				int more = source.read(bytes, have, bytes.length - have);

				if (more < 0)
					throw new EOFException("it has ended");
				have += more;
			}
		} catch (IOException e) {
			throw new ProviderException(DEVICE + " cannot be read", e);
		}
	}

	@Override
	protected byte[] engineGenerateSeed(int length) {
		byte[] seed = new byte[length];

		engineNextBytes(seed);
		return seed;
	}

	@Override
	public String toString() {
		return "Kernel";
	}

	/** Serialised with a SecureRandom, it comes back with the device of where it is. */
	private Object readResolve() {
		return new KernelRandom();
	}
}
