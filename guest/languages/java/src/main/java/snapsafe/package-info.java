// SPDX-License-Identifier: Apache-2.0
/**
 * SecureRandom for virtual machines that are cloned while they run.
 *
 * <p>NativePRNG keeps bytes of the kernel for up to a tenth of a second, DRBG and SHA1PRNG a state for good: two clones
 * draw the same from them. {@link snapsafe.SnapsafeProvider} has one that keeps nothing. Either
 *
 * <pre>java -javaagent:snapsafe.jar -jar program.jar</pre>
 *
 * or, before anything else, {@code Security.insertProviderAt(new SnapsafeProvider(), 1)}.
 */
package snapsafe;
