# SPDX-License-Identifier: Apache-2.0
"""
The Python module against libsnapsafe and a counter that is a file: SNAPSAFE_DEVICE, set by tests/languages/run. A twin, a plain
generator that has the state of ours, is what another clone would have.
"""
import os
import pickle
import random
import threading
import unittest

import snapsafe

COUNTER = os.environ["SNAPSAFE_DEVICE"]


def restore():
    """The machine is another one from here on."""
    fd = os.open(COUNTER, os.O_RDWR)
    value = int.from_bytes(os.pread(fd, 8, 0), "little")
    os.pwrite(fd, (value + 1).to_bytes(8, "little"), 0)
    os.close(fd)


def twin_of(generator):
    twin = random.Random()
    twin.setstate(generator.getstate())
    return twin


def in_child(function):
    """What function() returns in a forked child."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, pickle.dumps(function()))
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as f:
        value = pickle.loads(f.read())
    os.waitpid(pid, 0)
    return value


class Library(unittest.TestCase):
    def test_a_restore_is_noticed(self):
        token, before = snapsafe.Token(), snapsafe.generation()
        self.assertTrue(token.holds())
        restore()
        self.assertFalse(token.holds())
        self.assertIs(token.check(), False)
        self.assertEqual(snapsafe.generation(), before + 1)

    def test_a_fork_is_noticed(self):
        token = snapsafe.Token()
        self.assertFalse(in_child(token.holds))
        self.assertTrue(token.holds())

    def test_a_counter_that_is_a_file_has_no_identity(self):
        self.assertIsNone(snapsafe.identity())

    def test_bytes(self):
        self.assertEqual([len(snapsafe.random_bytes(n)) for n in (0, 1, 16, 100000)], [0, 1, 16, 100000])
        self.assertNotEqual(snapsafe.random_bytes(16), snapsafe.random_bytes(16))
        with self.assertRaisesRegex(ValueError, "length is -1"):
            snapsafe.random_bytes(-1)

    def test_the_version_is_a_version(self):
        self.assertRegex(snapsafe.library_version(), r"^\d+\.\d+\.\d+$")


class SystemRandom(unittest.TestCase):
    def test_numbers_fill_their_range_and_stay_in_it(self):
        generator = snapsafe.SystemRandom()
        draws = [generator.random() for _ in range(1000)]
        self.assertTrue(0 <= min(draws) < 0.1 and 0.9 < max(draws) < 1)
        for k in (0, 1, 7, 8, 9, 128):
            self.assertEqual(max(generator.getrandbits(k) for _ in range(200)).bit_length(), k)
        with self.assertRaisesRegex(ValueError, "k is -1"):
            generator.getrandbits(-1)
        self.assertEqual(len(generator.randbytes(5)), 5)
        self.assertEqual({generator.randrange(3) for _ in range(200)}, {0, 1, 2})


class Random(unittest.TestCase):
    DRAWS = {"random": (), "getrandbits": (64,), "gauss": (), "randbytes": (16,), "randrange": (1 << 62,), "normalvariate": (0, 1)}

    def test_it_is_the_same_generator_between_restores(self):
        for name, arguments in self.DRAWS.items():
            generator = snapsafe.Random()
            twin = twin_of(generator)
            for _ in range(10):
                self.assertEqual(getattr(generator, name)(*arguments), getattr(twin, name)(*arguments), name)

    def test_clones_go_different_ways(self):
        for name, arguments in self.DRAWS.items():
            generator = snapsafe.Random()
            getattr(generator, name)(*arguments)
            twin = twin_of(generator)
            restore()
            self.assertNotEqual(getattr(generator, name)(*arguments), getattr(twin, name)(*arguments), name)

    def test_the_second_half_of_a_pair_is_thrown_away(self):
        generator = snapsafe.Random()
        generator.gauss()
        self.assertIsNotNone(generator.gauss_next)
        twin = twin_of(generator)
        restore()
        self.assertNotEqual(generator.gauss(), twin.gauss())

    def test_a_restore_within_a_draw_is_noticed(self):
        generator = snapsafe.Random()
        drawn = []

        def draw():
            drawn.append(random.Random.random(generator))
            if len(drawn) == 1:
                restore()
            return drawn[-1]

        self.assertEqual(generator._draw(draw), drawn[1])
        self.assertEqual(len(drawn), 2)

    def test_a_chosen_seed_or_state_is_kept(self):
        generator, twin = snapsafe.Random(5), random.Random(5)
        restore()
        self.assertEqual(generator.random(), twin.random())
        generator = snapsafe.Random()
        generator.setstate(twin.getstate())
        restore()
        self.assertEqual(generator.random(), twin.random())
        generator.seed()
        restore()
        self.assertNotEqual(generator.random(), twin.random())

    def test_a_child_goes_another_way(self):
        generator = snapsafe.Random()
        self.assertNotEqual(in_child(generator.random), generator.random())

    def test_threads_never_see_the_life_before(self):
        generator = snapsafe.Random()
        for _ in range(20):
            twin = twin_of(generator)
            old = {twin.getrandbits(64) for _ in range(2000)}
            restore()
            new = [[] for _ in range(4)]
            threads = [threading.Thread(target=lambda mine: mine.extend(generator.getrandbits(64) for _ in range(200)), args=(mine,))
                       for mine in new]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            drawn = sum(new, [])
            self.assertEqual(len(drawn), 800)
            self.assertFalse(old & set(drawn))


class Install(unittest.TestCase):
    def test_the_functions_of_random_are_ours(self):
        generator = snapsafe.install()
        self.assertIs(snapsafe.install(), generator)
        hidden = [name for name, value in vars(random).items() if isinstance(getattr(value, "__self__", None), random.Random)]
        self.assertTrue({"random", "getrandbits", "choice", "shuffle", "randint", "seed"} <= set(hidden))
        for name in hidden:
            self.assertIs(getattr(random, name).__self__, generator, name)
        twin = twin_of(generator)
        self.assertEqual(random.random(), twin.random())
        restore()
        self.assertNotEqual(random.random(), twin.random())
        random.seed(7)
        restore()
        self.assertEqual(random.random(), random.Random(7).random())


if __name__ == "__main__":
    unittest.main()
