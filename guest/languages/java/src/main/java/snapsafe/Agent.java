// SPDX-License-Identifier: Apache-2.0
package snapsafe;

import java.security.Security;

/** Puts the provider in front of all others before a program's main(), for programs that know nothing of it. */
public final class Agent {
	private Agent() {
	}

	/** Called by the virtual machine of Java: {@code -javaagent:snapsafe.jar}. */
	public static void premain(String arguments) {
		Security.insertProviderAt(new SnapsafeProvider(), 1);
	}
}
