// SPDX-License-Identifier: Apache-2.0
/*
 * snapshot/pair: the old pair or the new one, whole, whatever happens. Writes
 * pairs whose state and memory carry the same generation number, and disturbs
 * them: killed writers, full disks, directories in the way, two writers at once.
 *
 * SNAPSAFE_TEST_ROUNDS is the number of kills (default 40).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "snapshot/format.h"
#include "snapshot/layers.h"
#include "snapshot/memfile.h"
#include "snapshot/pair.h"
#include "tmpdir.h"

#define MIB (1024ull * 1024)

static const struct mem_layout layout = {
	.num_regions = 2,
	.regions = { { .gpa = 0, .size = 3 * MIB }, { .gpa = 1ull << 32, .size = MIB } },
};

static struct tmpdir dir;
static struct guest_mem mem;
static char state_path[PATH_MAX], mem_path[PATH_MAX];

static int setup(void **state)
{
	struct err e;

	(void)state;
	if (tmpdir_make(&dir) < 0)
		return -1;
	snprintf(state_path, sizeof(state_path), "%s/vm.state", dir.path);
	snprintf(mem_path, sizeof(mem_path), "%s/vm.mem", dir.path);
	return mem_init_anonymous(&mem, &layout, &e);
}

static int teardown(void **state)
{
	(void)state;
	mem_fini(&mem);
	tmpdir_remove(&dir);
	return 0;
}

static const struct snapshot_chain no_chain = { .num = 0 };
static struct snapshot_chain written; /* of the pair that was written last */

static int write_pair_on(const struct snapshot_chain *below, uint64_t *const *changed, const char *state,
			 const char *memory, struct enc *enc, struct err *e)
{
	const struct snapshot_order order = {
		.state_path = state, .mem_path = memory, .mem = &mem, .below = below, .changed = changed
	};

	return snapshot_write_pair(&order, enc, &written, e);
}

static int write_pair(const char *state, const char *memory, struct enc *enc, struct err *e)
{
	return write_pair_on(&no_chain, NULL, state, memory, enc, e);
}

/* A machine whose state and memory say that it is of this generation. */
static int write_generation_on(const struct snapshot_chain *below, uint64_t *const *changed, const char *state,
			       const char *memory, uint64_t generation, struct err *e)
{
	struct enc *enc = enc_new();
	int r;

	for (uint64_t at = 0; at < 2 * MIB; at += 16 * MEM_PAGE_SIZE)
		(void)!mem_write(&mem, at, &generation, sizeof(generation));
	(void)!mem_write(&mem, (1ull << 32) + MIB - 8, &generation, sizeof(generation));
	(void)!mem_write(&mem, SNAPSHOT_RECORD_OFFSET, &generation, sizeof(generation));
	enc_u64(enc, "generation", generation);
	snapshot_chain_save(below, &mem, enc);
	r = write_pair_on(below, changed, state, memory, enc, e);
	enc_free(enc);
	return r;
}

static int write_generation_to(const char *state, const char *memory, uint64_t generation, struct err *e)
{
	return write_generation_on(&no_chain, NULL, state, memory, generation, e);
}

static int write_generation(uint64_t generation, struct err *e)
{
	return write_generation_to(state_path, mem_path, generation, e);
}

static void must_write(uint64_t generation)
{
	struct err e;

	if (write_generation(generation, &e) < 0)
		fail_msg("%s", e.text);
}

/* 0 and *generation if all of memory says what the state says; -EBADMSG if not. */
static int check_memory(struct guest_mem *restored, uint64_t generation)
{
	uint64_t seen;

	for (uint64_t at = 0; at < 2 * MIB; at += 16 * MEM_PAGE_SIZE) {
		if (!mem_read(restored, at, &seen, sizeof(seen)) || seen != generation)
			return -EBADMSG;
	}
	if (!mem_read(restored, (1ull << 32) + MIB - 8, &seen, sizeof(seen)) || seen != generation)
		return -EBADMSG;
	return 0;
}

static int load_generation_from(const char *state, const char *memory, uint64_t *generation, struct err *e)
{
	struct guest_mem restored;
	struct statefile file;
	uint64_t under_record;
	struct snapshot_chain chain;
	int r;

	r = statefile_read(state, &file, e);
	if (r < 0)
		return r;
	*generation = dec_u64(file.state, "generation", 0, UINT64_MAX);
	r = snapshot_chain_load(&file, &chain, e);
	if (r == 0)
		r = snapshot_map_memory(&file, &chain, memory, NULL, &layout, &restored, e);
	if (r == 0)
		r = snapshot_put_back(&file, &chain, &restored, e);
	statefile_fini(&file);
	if (r < 0)
		return r;
	r = check_memory(&restored, *generation);
	if (r == 0 && (!mem_read(&restored, SNAPSHOT_RECORD_OFFSET, &under_record, sizeof(under_record)) ||
		       under_record != *generation))
		r = -EBADMSG;
	mem_fini(&restored);
	return r < 0 ? err_set(e, -r, "memory is not of generation %llu", (unsigned long long)*generation) : 0;
}

static uint64_t must_load(void)
{
	uint64_t generation;
	struct err e;

	if (load_generation_from(state_path, mem_path, &generation, &e) < 0)
		fail_msg("%s", e.text);
	return generation;
}

static int count_files(const char *directory)
{
	DIR *d = opendir(directory);
	int n = 0;

	assert_non_null(d);
	for (struct dirent *entry; (entry = readdir(d));)
		n += entry->d_name[0] != '.';
	closedir(d);
	return n;
}

static void tmp_name(char *tmp, const char *path)
{
	strcpy(stpcpy(tmp, path), SNAPSHOT_TMP_SUFFIX);
}

static void others_have_no_rights_to_a_pair(void **state)
{
	static const struct {
		mode_t umask, mode;
	} rows[] = { { 022, 0640 }, { 077, 0600 }, { 0, 0660 }, { 027, 0640 } };
	struct stat st;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		mode_t before = umask(rows[i].umask);

		must_write(1);
		umask(before);
		assert_int_equal(must_load(), 1);
		assert_int_equal(count_files(dir.path), 2);
		assert_int_equal(stat(state_path, &st), 0);
		assert_int_equal(st.st_mode & 07777, rows[i].mode);
		assert_int_equal(stat(mem_path, &st), 0);
		assert_int_equal(st.st_mode & 07777, rows[i].mode);
		assert_int_equal(st.st_size, mem.size);
	}
}

static void a_second_snapshot_replaces_the_first(void **state)
{
	(void)state;
	must_write(1);
	must_write(2);
	assert_int_equal(must_load(), 2);
	assert_int_equal(count_files(dir.path), 2);
}

static void ids_are_never_the_same(void **state)
{
	struct statefile a, b;
	struct err e;

	(void)state;
	must_write(1);
	assert_int_equal(statefile_read(state_path, &a, &e), 0);
	must_write(1);
	assert_int_equal(statefile_read(state_path, &b, &e), 0);
	assert_memory_not_equal(a.mark.id, b.mark.id, sizeof(a.mark.id));
	statefile_fini(&a);
	statefile_fini(&b);
}

static void a_running_clone_keeps_the_memory_that_it_maps(void **state)
{
	struct guest_mem clone, own = mem;
	struct statefile file;
	struct err e;
	int fd;

	(void)state;
	must_write(1);
	assert_int_equal(statefile_read(state_path, &file, &e), 0);
	assert_int_equal(memfile_open(mem_path, &file.mark, &fd, &e), 0);
	statefile_fini(&file);
	assert_int_equal(mem_init_file(&clone, &layout, fd, &e), 0);
	must_write(2);
	assert_int_equal(check_memory(&clone, 1), 0);
	mem = clone; /* and the clone writes over the very file that it came from */
	must_write(3);
	clone = mem;
	mem = own;
	assert_int_equal(must_load(), 3);
	mem_fini(&clone);
}

static void paths_may_be_relative_and_in_different_directories(void **state)
{
	uint64_t generation;
	char shm[64];
	struct err e;

	(void)state;
	assert_int_equal(mkdir(tmpdir_file(&dir, "a"), 0700), 0);
	assert_int_equal(mkdir(tmpdir_file(&dir, "b"), 0700), 0);
	assert_int_equal(chdir(tmpdir_file(&dir, "a")), 0);
	assert_int_equal(write_generation_to("x", "../b/x", 5, &e), 0);
	assert_int_equal(load_generation_from("x", "../b/x", &generation, &e), 0);
	assert_int_equal(generation, 5);
	snprintf(shm, sizeof(shm), "/dev/shm/snapsafe-test-%d", getpid());
	if (access("/dev/shm", W_OK) == 0) { /* another file system */
		assert_int_equal(write_generation_to("x", shm, 6, &e), 0);
		assert_int_equal(load_generation_from("x", shm, &generation, &e), 0);
		assert_int_equal(generation, 6);
		unlink(shm);
	}
	assert_int_equal(chdir("/"), 0);
}

static void a_link_stays_and_its_target_is_replaced(void **state)
{
	char link[PATH_MAX];
	uint64_t generation;
	struct stat st;
	struct err e;

	(void)state;
	must_write(1);
	snprintf(link, sizeof(link), "%s/latest", dir.path);
	assert_int_equal(symlink("vm.mem", link), 0);
	assert_int_equal(write_generation_to(state_path, link, 2, &e), 0);
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(load_generation_from(state_path, link, &generation, &e), 0);
	assert_int_equal(must_load(), 2);
	assert_int_equal(generation, 2);
}

/* As open() with O_CREAT does it: the target is made, the link stays; also when it takes several links to get there. */
static void a_link_to_nothing_makes_its_target(void **state)
{
	char to_state[PATH_MAX], to_mem[PATH_MAX], far[PATH_MAX];
	uint64_t generation;
	struct stat st;
	struct err e;

	(void)state;
	snprintf(to_state, sizeof(to_state), "%s/to-state", dir.path);
	snprintf(to_mem, sizeof(to_mem), "%s/to-mem", dir.path);
	snprintf(far, sizeof(far), "%s/far", dir.path);
	assert_int_equal(symlink("vm.state", to_state), 0);
	assert_int_equal(symlink("far", to_mem), 0);
	assert_int_equal(symlink(mem_path, far), 0);
	assert_int_equal(write_generation_to(to_state, to_mem, 3, &e), 0);
	assert_int_equal(lstat(to_state, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(must_load(), 3);
	assert_int_equal(load_generation_from(to_state, to_mem, &generation, &e), 0);
	assert_int_equal(generation, 3);
	assert_int_equal(unlink(far), 0);
	assert_int_equal(symlink("far", far), 0);
	assert_true(write_generation_to(state_path, to_mem, 4, &e) < 0);
	assert_non_null(strstr(e.text, "Too many levels of symbolic links"));
}

static void open_copy(const char *path, char link[64], bool memfd)
{
	char contents[64 * 1024];
	int from = open(path, O_RDONLY | O_CLOEXEC);
	int to = memfd ? memfd_create("test", MFD_CLOEXEC) : from;
	ssize_t n;

	assert_true(from >= 0 && to >= 0);
	while (memfd && (n = read(from, contents, sizeof(contents))) > 0)
		assert_int_equal(write(to, contents, (size_t)n), n);
	if (memfd)
		close(from);
	snprintf(link, 64, "/proc/self/fd/%d", to);
}

/* A descriptor that was handed to the process is named by its link in /proc. */
static void files_without_a_name_are_loaded_and_not_replaced(void **state)
{
	char state_link[64], mem_link[64];
	uint64_t generation;
	struct err e;

	(void)state;
	for (unsigned int memfd = 0; memfd < 2; memfd++) {
		must_write(7 + memfd);
		open_copy(state_path, state_link, memfd);
		open_copy(mem_path, mem_link, memfd);
		assert_int_equal(unlink(state_path), 0);
		assert_int_equal(unlink(mem_path), 0);
		assert_int_equal(load_generation_from(state_link, mem_link, &generation, &e), 0);
		assert_int_equal(generation, 7 + memfd);
		assert_int_equal(write_generation_to(state_path, mem_link, 9, &e), -ESTALE);
		assert_non_null(strstr(e.text, "has no name any more"));
		close(atoi(strrchr(state_link, '/') + 1));
		close(atoi(strrchr(mem_link, '/') + 1));
	}
}

static void a_name_without_room_for_the_suffix_is_refused_in_a_sentence(void **state)
{
	char path[PATH_MAX + 300];
	struct err e;

	(void)state;
	for (size_t len = 242; len <= 256; len++) {
		int r;

		snprintf(path, sizeof(path), "%s/%0*d", dir.path, (int)len, 0);
		r = write_generation_to(state_path, path, 1, &e);
		assert_int_equal(r, len == 242 ? 0 : -ENAMETOOLONG);
		if (len > 242 && len < 256)
			assert_non_null(strstr(e.text, "at most 242 are allowed"));
		r = write_generation_to(path, mem_path, 1, &e);
		assert_int_equal(r, len == 242 ? 0 : -ENAMETOOLONG);
		if (len == 242)
			unlink(path);
	}
}

static void assert_refused(const char *state, const char *memory, const char *text)
{
	int files = count_files(dir.path);
	struct err e;

	assert_true(write_generation_to(state, memory, 99, &e) < 0);
	if (!strstr(e.text, text))
		fail_msg("\"%s\" should say \"%s\"", e.text, text);
	assert_int_equal(count_files(dir.path), files);
}

static void one_file_for_both_is_refused(void **state)
{
	char other[PATH_MAX + 64];

	(void)state;
	must_write(1);
	assert_refused(state_path, state_path, "need two different names");
	snprintf(other, sizeof(other), "%s/./vm.state", dir.path);
	assert_refused(state_path, other, "need two different names");
	snprintf(other, sizeof(other), "%s/link", dir.path);
	assert_int_equal(symlink(state_path, other), 0);
	assert_refused(state_path, other, "need two different names");
	tmp_name(other, state_path);
	assert_refused(state_path, other, "neither may be the other's with");
	assert_refused(other, state_path, "neither may be the other's with");
	assert_int_equal(must_load(), 1);
}

static void what_is_in_the_way_is_named(void **state)
{
	char other[PATH_MAX + 64], tmp[PATH_MAX + 64];

	(void)state;
	alarm(60);
	must_write(1);
	assert_refused("", mem_path, "path of the snapshot state file is empty");
	assert_refused(state_path, "", "path of the snapshot memory file is empty");
	assert_refused(dir.path, mem_path, "is a directory");
	assert_refused(state_path, dir.path, "is a directory");
	assert_refused(state_path, "/dev/null", "is not a regular file");
	snprintf(other, sizeof(other), "%s/no/such", dir.path);
	assert_refused(other, mem_path, "No such file or directory");
	assert_refused(state_path, other, "No such file or directory");
	snprintf(other, sizeof(other), "%s/x", state_path);
	assert_refused(other, mem_path, "Not a directory");
	snprintf(other, sizeof(other), "%s/fifo", dir.path);
	assert_int_equal(mkfifo(other, 0600), 0);
	assert_refused(other, mem_path, "is not a regular file");
	assert_refused(state_path, other, "is not a regular file");
	memset(other, 'x', PATH_MAX);
	other[PATH_MAX] = '\0';
	assert_refused(other, mem_path, "at most");
	tmp_name(tmp, mem_path);
	assert_int_equal(mkdir(tmp, 0700), 0);
	assert_refused(state_path, mem_path, "is in the way");
	assert_int_equal(rmdir(tmp), 0);
	assert_int_equal(symlink(state_path, tmp), 0);
	assert_refused(state_path, mem_path, "is in the way");
	assert_int_equal(must_load(), 1);
	alarm(0);
}

static void a_state_that_does_not_encode_touches_nothing(void **state)
{
	struct enc *enc = enc_new();
	struct err e;

	(void)state;
	must_write(1);
	enc_u64(enc, "twice", 1);
	enc_u64(enc, "twice", 1);
	assert_true(write_pair(state_path, mem_path, enc, &e) < 0);
	assert_non_null(strstr(e.text, "would not load again"));
	enc_map_begin(enc, "open");
	assert_true(write_pair(state_path, mem_path, enc, &e) < 0);
	assert_non_null(strstr(e.text, "cannot encode"));
	enc_free(enc);
	assert_int_equal(must_load(), 1);
	assert_int_equal(count_files(dir.path), 2);
}

static void leftovers_are_removed(void **state)
{
	char tmp[PATH_MAX + 64];

	(void)state;
	must_write(1);
	tmp_name(tmp, state_path);
	assert_int_equal(tmpdir_write(tmp, "half", 4), 0);
	tmp_name(tmp, mem_path);
	assert_int_equal(tmpdir_write(tmp, "half", 4), 0);
	assert_int_equal(must_load(), 1);
	must_write(2);
	assert_int_equal(must_load(), 2);
	assert_int_equal(count_files(dir.path), 2);
}

/* Leaves what a writer leaves that dies between the two renames: old memory, new state, new memory under the other name. */
static void make_half_committed(uint64_t old, uint64_t new)
{
	char old_mem[PATH_MAX + 64], tmp[PATH_MAX + 64];

	must_write(old);
	snprintf(old_mem, sizeof(old_mem), "%s.old", mem_path);
	tmp_name(tmp, mem_path);
	assert_int_equal(link(mem_path, old_mem), 0);
	must_write(new);
	assert_int_equal(rename(mem_path, tmp), 0);
	assert_int_equal(rename(old_mem, mem_path), 0);
}

static void a_half_done_commit_is_loadable_and_gets_finished(void **state)
{
	(void)state;
	make_half_committed(1, 2);
	assert_int_equal(must_load(), 2);
	must_write(3);
	assert_int_equal(must_load(), 3);
	assert_int_equal(count_files(dir.path), 2);
}

/* Runs fn in a process of its own. */
static void in_child(void (*fn)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(60);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/*
 * What a writer leaves that dies before its commit, with a diff merged into the pair that is in place: a whole memory with
 * both records.
 */
static void make_merged_and_not_committed(char *tmp)
{
	char old_mem[PATH_MAX + 64], old_state[PATH_MAX + 64];
	struct snapshot_chain below;
	struct err e;

	must_write(1);
	below = written;
	snprintf(old_mem, sizeof(old_mem), "%s.old", mem_path);
	snprintf(old_state, sizeof(old_state), "%s.old", state_path);
	tmp_name(tmp, mem_path);
	assert_int_equal(link(mem_path, old_mem), 0);
	assert_int_equal(link(state_path, old_state), 0);
	if (write_generation_on(&below, NULL, state_path, mem_path, 2, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(must_load(), 2);
	assert_int_equal(rename(mem_path, tmp), 0);
	assert_int_equal(rename(old_mem, mem_path), 0);
	assert_int_equal(rename(old_state, state_path), 0);
}

static void write_without_room(void)
{
	struct rlimit limit = { .rlim_cur = 0, .rlim_max = RLIM_INFINITY };
	struct err e;

	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit) < 0 || write_generation(3, &e) == 0)
		_exit(1);
}

static void a_merged_diff_that_was_not_committed_goes(void **state)
{
	char tmp[PATH_MAX + 64];

	(void)state;
	make_merged_and_not_committed(tmp);
	assert_int_equal(must_load(), 1);
	in_child(write_without_room);
	assert_int_equal(must_load(), 1);
	assert_int_equal(count_files(dir.path), 2);
}

static void a_memory_with_a_diff_merged_in_is_another_snapshots(void **state)
{
	char tmp[PATH_MAX + 64];
	uint64_t generation;
	struct err e;

	(void)state;
	make_merged_and_not_committed(tmp);
	assert_int_equal(rename(tmp, mem_path), 0);
	assert_int_equal(load_generation_from(state_path, mem_path, &generation, &e), -EINVAL);
	assert_non_null(strstr(e.text, "belongs to another snapshot: the diff "));
}

/* Nobody has the memory that the second diff lies on any more: it has to be whole. */
static void two_clones_may_merge_their_diffs_into_one_file(void **state)
{
	uint64_t changed[2][16] = { { 0 } }, *const bitmaps[] = { changed[0], changed[1] };
	struct snapshot_chain below;
	struct err e;

	(void)state;
	must_write(1);
	below = written;
	for (uint64_t generation = 2; generation < 4; generation++) {
		if (write_generation_on(&below, bitmaps, state_path, mem_path, generation, &e) < 0)
			fail_msg("%s", e.text);
		assert_int_equal(must_load(), generation);
	}
}

#define CHECK(condition)                                                        \
	do {                                                                    \
		if (!(condition)) {                                             \
			fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
			_exit(1);                                               \
		}                                                               \
	} while (0)

/* The disk is full after limit bytes of any one file: with each limit the writer fails somewhere else. */
static void write_with_limits(void)
{
	uint64_t generation;
	bool succeeded = false;
	struct err e;

	signal(SIGXFSZ, SIG_IGN);
	for (rlim_t at = 0; !succeeded; at = at < 256 ? at + 8 : at + 300 * 1024) {
		struct rlimit limit = { .rlim_cur = at, .rlim_max = RLIM_INFINITY };

		CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
		succeeded = write_generation(3, &e) == 0;
		if (!succeeded) {
			CHECK(strstr(e.text, "File too large") && strstr(e.text, dir.path));
			CHECK(load_generation_from(state_path, mem_path, &generation, &e) == 0 && generation == 2);
		}
	}
	CHECK(load_generation_from(state_path, mem_path, &generation, &e) == 0 && generation == 3);
}

static void a_limit_anywhere_keeps_the_old_pair(void **state)
{
	(void)state;
	make_half_committed(1, 2); /* the hardest case: the old pair itself is between two names */
	in_child(write_with_limits);
	assert_int_equal(count_files(dir.path), 2);
}

static void write_on_full_disk(void)
{
	char filler[PATH_MAX];
	uint64_t generation;
	struct err e;
	char block[4096] = { 1 };
	int fd;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", dir.path, "tmpfs", 0, "size=2M") < 0)
		_exit(77);
	CHECK(write_generation(1, &e) == 0);
	snprintf(filler, sizeof(filler), "%s/filler", dir.path);
	fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(fd, block, sizeof(block)) > 0)
		;
	for (int freed = 0; freed < 24; freed++) { /* from no room at all to enough */
		int r = write_generation(2, &e);

		if (r == 0)
			break;
		CHECK(r == -ENOSPC);
		CHECK(strstr(e.text, "No space left on device") && strstr(e.text, dir.path));
		CHECK(load_generation_from(state_path, mem_path, &generation, &e) == 0 && generation == 1);
		CHECK(count_files(dir.path) == 3);
		CHECK(ftruncate(fd, lseek(fd, -8 * 4096, SEEK_END)) == 0);
	}
	CHECK(load_generation_from(state_path, mem_path, &generation, &e) == 0 && generation == 2);
}

static void a_full_disk_keeps_the_old_pair(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (pid == 0) {
		alarm(60);
		write_on_full_disk();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip(); /* may not mount */
	assert_int_equal(status, 0);
}

static void a_living_writer_is_respected(void **state)
{
	char tmp[2][PATH_MAX + 64];

	(void)state;
	must_write(1);
	tmp_name(tmp[0], state_path);
	tmp_name(tmp[1], mem_path);
	for (int i = 0; i < 2; i++) {
		int fd = open(tmp[i], O_RDWR | O_CREAT | O_CLOEXEC, 0600);

		assert_int_equal(flock(fd, LOCK_EX), 0);
		assert_refused(state_path, mem_path, "another process is writing a snapshot to snapshot");
		assert_int_equal(access(tmp[i], F_OK), 0); /* not removed */
		close(fd);
	}
	must_write(2); /* both owners have gone */
	assert_int_equal(count_files(dir.path), 2);
}

static void write_many(void)
{
	uint64_t base = (uint64_t)getpid() << 20;
	struct err e;

	for (uint64_t i = 0; i < 60; i++) {
		int r = write_generation(base + i, &e);

		if (r == -EBUSY)
			CHECK(strstr(e.text, "another process is writing"));
		else
			CHECK(r == 0);
	}
}

/*
 * A loader that meets a commit may see the state before and the memory after it, and is told so: often, where it is slower
 * than they are.
 */
static void load_while_others_write(const pid_t *pids, int n)
{
	int running = n, status;
	uint64_t generation;
	struct err e;

	while (running > 0) {
		if (load_generation_from(state_path, mem_path, &generation, &e) < 0 &&
		    !strstr(e.text, "belongs to another snapshot"))
			fail_msg("%s", e.text);
		for (int i = 0; i < n; i++) {
			if (waitpid(pids[i], &status, WNOHANG) == pids[i]) {
				assert_int_equal(status, 0);
				running--;
			}
		}
	}
}

static void two_writers_never_mix_their_pairs(void **state)
{
	pid_t pids[2];

	(void)state;
	must_write(1);
	for (int i = 0; i < 2; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			alarm(100);
			write_many();
			_exit(0);
		}
	}
	load_while_others_write(pids, 2);
	must_load();
	assert_int_equal(count_files(dir.path), 2);
}

static void write_for_ever(void)
{
	struct err e;

	for (uint64_t generation = must_load() + 1;; generation++) {
		if (write_generation(generation, &e) < 0) {
			fprintf(stderr, "%s\n", e.text);
			_exit(1);
		}
	}
}

static int test_rounds(void)
{
	const char *rounds = getenv("SNAPSAFE_TEST_ROUNDS");

	return rounds && atoi(rounds) > 0 ? atoi(rounds) : 40;
}

static void a_killed_writer_leaves_a_whole_pair(void **state)
{
	uint64_t generation = 1;
	unsigned int half_committed = 0;

	(void)state;
	must_write(generation);
	srandom(1);
	for (int round = 0; round < test_rounds(); round++) {
		char tmp[PATH_MAX + 64];
		uint64_t loaded;
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			alarm(60);
			write_for_ever();
		}
		usleep((useconds_t)(random() % 20000));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		loaded = must_load();
		assert_true(loaded >= generation); /* what was committed stays so */
		generation = loaded;
		tmp_name(tmp, mem_path);
		half_committed += access(tmp, F_OK) == 0 && access(mem_path, F_OK) == 0;
	}
	must_write(generation + 1);
	assert_int_equal(must_load(), generation + 1);
	assert_int_equal(count_files(dir.path), 2);
	print_message("# generation %llu after %d kills, %u of them left a temporary memory file\n",
		      (unsigned long long)generation, test_rounds(), half_committed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(others_have_no_rights_to_a_pair),
		TEST(a_second_snapshot_replaces_the_first),
		TEST(ids_are_never_the_same),
		TEST(a_running_clone_keeps_the_memory_that_it_maps),
		TEST(paths_may_be_relative_and_in_different_directories),
		TEST(a_link_stays_and_its_target_is_replaced),
		TEST(a_link_to_nothing_makes_its_target),
		TEST(files_without_a_name_are_loaded_and_not_replaced),
		TEST(a_name_without_room_for_the_suffix_is_refused_in_a_sentence),
		TEST(one_file_for_both_is_refused),
		TEST(what_is_in_the_way_is_named),
		TEST(a_state_that_does_not_encode_touches_nothing),
		TEST(leftovers_are_removed),
		TEST(a_half_done_commit_is_loadable_and_gets_finished),
		TEST(a_merged_diff_that_was_not_committed_goes),
		TEST(a_memory_with_a_diff_merged_in_is_another_snapshots),
		TEST(two_clones_may_merge_their_diffs_into_one_file),
		TEST(a_limit_anywhere_keeps_the_old_pair),
		TEST(a_full_disk_keeps_the_old_pair),
		TEST(a_living_writer_is_respected),
		TEST(two_writers_never_mix_their_pairs),
		TEST(a_killed_writer_leaves_a_whole_pair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
