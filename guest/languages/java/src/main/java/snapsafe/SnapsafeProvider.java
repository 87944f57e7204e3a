// SPDX-License-Identifier: Apache-2.0
package snapsafe;

import java.security.Provider;
import java.util.List;
import java.util.Map;

/** One service, {@code SecureRandom}, by the name of Kernel. In front of the others it is what {@code new SecureRandom()} gives. */
public final class SnapsafeProvider extends Provider {
	private static final long serialVersionUID = 1;

	public SnapsafeProvider() {
		super("Snapsafe", "0.1", "random bytes from the kernel, each time");
		putService(new Service(this, "SecureRandom", "Kernel", KernelRandom.class.getName(), List.of(), Map.of("ThreadSafe", "true")));
	}
}
