/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory: a few regions, each one host mapping. The only door to it for
 * addresses that come from the guest: a range is checked once and either lies
 * whole in one region or does not exist.
 *
 * The guest may change any byte at any time: copy first, validate the copy.
 *
 * Everybody may read. Who writes does it by a function of this header, so that
 * a snapshot can ask which pages the monitor has changed (track.h); KVM knows
 * what the guest has. The pointers that others are given are const, and the
 * compiler holds them to it.
 */
#ifndef MEM_MEM_H
#define MEM_MEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

typedef uint64_t gpa_t; /* guest physical address */

#define MEM_MAX_REGIONS	   4
#define MEM_MAX_LAYERS	   15u /* above the memory file */
#define MEM_PAGE_SIZE	   4096u
#define MEM_HUGE_PAGE_SIZE (2u << 20) /* of memory that is huge */

/* What a page of a region has that nobody has touched yet. */
enum mem_source {
	MEM_ANONYMOUS, /* zeroes */
	MEM_FILE,      /* the bytes of the memory file, mapped privately */
	MEM_HANDLER,   /* what somebody else serves at the first touch: this process cannot know it before */
};

struct mem_region {
	gpa_t gpa;	     /* page-aligned */
	uint64_t size;	     /* bytes, whole pages */
	const uint8_t *host; /* for everybody, and for KVM */
	uint8_t *writable; /* owned mapping, for mem/ alone: the same address, but in tests, where host is read-only */
	uint64_t file_offset; /* where it stands in a memory file: regions follow each other without gaps */
	enum mem_source source;
	uint64_t *
		discarded; /* a bit a page: its source is zeroes now (pages.h); owned, NULL if the source is that anyway */
	uint8_t *layers;   /* a byte a page: 0 the memory file's, n of layer n; owned, NULL without layers */
	uint64_t *written; /* a bit a page: changed since the mark (track.h); owned, NULL before the first mark */
	uint64_t *copied;  /* a bit a huge page: it is there (copied.h); owned, NULL but for huge memory of MEM_FILE */
	uint64_t *
		populated; /* a bit a page: it is known to be in memory (populated.h); owned, NULL where nobody is served */
};

struct mem_job;

/* How pages are had of which mem_is_served() is true. */
struct mem_handler {
	/*
	 * All pages of [offset, offset + len) of the region are in memory when it returns 0; those that were there already
	 * are left alone. May wait, within a bound. -errno, if a single one could not be had.
	 */
	int (*populate)(void *ctx, const struct mem_region *region, uint64_t offset, uint64_t len);
	/*
	 * Pages of [offset, offset + len) were given back: they are zero when it returns 0, and stay so until somebody writes
	 * there. -errno: some may have what they had. NULL: nobody is told, other memory takes their place.
	 */
	int (*discard)(void *ctx, const struct mem_region *region, uint64_t offset, uint64_t len);
	/* populated.h: work for those who must not wait; both or none. Any thread; neither waits. */
	void (*submit)(void *ctx, struct mem_job *job);
	void (*withdraw)(void *ctx, struct mem_job *job);
	void *ctx;
};

/* What the guest has written, from whoever runs it (KVM's dirty log). */
struct mem_guest_log {
	/* Sets a bit in bitmap for each page of the region that the guest has written since the last call. -errno. */
	int (*collect)(void *ctx, unsigned int region, uint64_t *bitmap);
	void *ctx;
};

/* Regions are fixed once the machine runs; any thread may use it, except where said. */
struct guest_mem {
	bool huge; /* of huge pages: that many bytes come at a time */
	unsigned int num_regions;
	struct mem_region regions[MEM_MAX_REGIONS]; /* ascending */
	uint64_t size;				    /* sum of the regions' sizes, bytes */
	int backing_fd; /* owned: the memory file that the regions map privately, or -1 if they map none */
	int layer_fds[MEM_MAX_LAYERS]; /* owned: the files of the layers that lie above it, bottom first */
	unsigned int num_layers;
	unsigned int num_mapped_runs; /* of layers: each has cut a mapping */
	struct mem_handler handler;
	struct mem_guest_log guest_log; /* collect is NULL: there is none */
	atomic_bool tracks;		/* what is written is noted */
	atomic_uint num_leases;		/* that have not been given back */
	unsigned int num_pieces;	/* that discarding has cut mappings into, at most */
};

/* Pages that follow each other in a memory file; whole pages. */
struct mem_run {
	uint64_t offset, len; /* bytes */
};

/* Plain layout of one region, what the architecture decides for a given RAM size (arch_mem_layout()). */
struct mem_layout {
	bool huge; /* pages of 2 MiB of the host's pool (hugetlbfs); regions are multiples of it */
	unsigned int num_regions;
	struct {
		gpa_t gpa;
		uint64_t size;
	} regions[MEM_MAX_REGIONS];
};

/*
 * Anonymous private memory. NORESERVE; but if the layout is huge all of its pages are reserved for it, here and below: they are
 * there when they are touched. If there are not enough, the sentence has how many are needed and how many there are.
 */
int mem_init_anonymous(struct guest_mem *mem, const struct mem_layout *layout, struct err *e) must_check;
/*
 * Maps fd (a memory file, whose size the caller has checked) MAP_PRIVATE: what the guest does not touch costs nothing.
 * Takes over fd, also when it fails. Huge memory does not map it: its pages are to be copied (copied.h), by whom mem_set_handler() names.
 */
int mem_init_file(struct guest_mem *mem, const struct mem_layout *layout, int fd, struct err *e) must_check;
/*
 * Lays the runs of fd (ascending, within the file, which is as long as the memory file) over memory of mem_init_file() that
 * nobody has touched. Takes over fd, also when it fails; then mem_fini() is all that can be done.
 */
int mem_add_layer(struct guest_mem *mem, int fd, const struct mem_run *runs, size_t num_runs, struct err *e) must_check;
/* Memory that somebody else fills, page by page; the handler is copied. The caller arranges for the serving. */
int mem_init_handler(struct guest_mem *mem, const struct mem_layout *layout, const struct mem_handler *handler,
		     struct err *e) must_check;
/* The handler, which is copied, of huge memory of a file; before anybody touches it. */
void mem_set_handler(struct guest_mem *mem, const struct mem_handler *handler);
/* Asks for transparent huge pages. In a file's mapping the kernel has them for some file systems only, and not for changed pages. */
int mem_use_huge_pages(const struct guest_mem *mem, struct err *e) must_check;
void mem_fini(struct guest_mem *mem); /* accepts half-built */

/* Does somebody else, a handler, have the region's pages when they are touched first? */
static inline bool mem_is_served(const struct mem_region *region)
{
	return region->source == MEM_HANDLER || region->copied;
}

/* The host address of [gpa, gpa + len), or NULL unless all of it lies in one region. len 0 gives NULL. */
const void *mem_host(const struct guest_mem *mem, gpa_t gpa, uint64_t len);
/*
 * The same for system calls that read what they are given as an iovec (writev(2)), which has no const: nobody writes
 * through it. iov_base is NULL where mem_host() is.
 */
struct iovec mem_source_iov(const struct guest_mem *mem, gpa_t gpa, uint64_t len);
/* Copies; false (and nothing done) unless the whole range is guest memory. */
bool mem_read(const struct guest_mem *mem, gpa_t gpa, void *dst, uint64_t len) __attribute__((warn_unused_result));

/* Copies and notes it; false (and nothing done) unless the whole range is guest memory. */
bool mem_write(struct guest_mem *mem, gpa_t gpa, const void *src, uint64_t len) __attribute__((warn_unused_result));
/*
 * The right to write to [gpa, gpa + len), at the address that is returned, until mem_release_write() of the same range;
 * NULL where mem_host() is. For what writes by itself: read(2), io_uring, getrandom(2). Leases may overlap, and be given
 * back by another thread. A snapshot comes when all have been given back: what is under lease is not known to it.
 */
void *mem_lease_write(struct guest_mem *mem, gpa_t gpa, uint64_t len);
void mem_release_write(struct guest_mem *mem, const void *host, uint64_t len);

#endif
