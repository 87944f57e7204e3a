# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For tools/static-libs: a toolchain for musl, and how each library is compiled by it. The current directory is the library's
# sources, PREFIX where headers and archives go; $out where PREFIX will be in the end, and $sources what Debian's archive has.

# Debian's own way to musl, musl-gcc, has no static programs at addresses that the kernel chooses.
make_toolchain() # PREFIX
{
	local arch specs

	arch=$(gcc -print-multiarch)
	specs=/usr/lib/${arch%-gnu}-musl/musl-gcc.specs
	[ -e "$specs" ] || die "$specs is missing: run tools/install-packages, or install Debian's package musl-tools"
	ln -s /usr/include/{linux,asm-generic,video,seccomp-syscalls.h} "/usr/include/$arch/asm" "$1/include/"
	mkdir "$1/include/sys"
	ln -s "/usr/include/$arch/sys/queue.h" "$1/include/sys/" # lists of BSD's: no part of any C library
	sed "s|-dynamic-linker [^ ]*|-static -pie --no-dynamic-linker -z text|; s|Scrt1\\.o|rcrt1.o|
		s|-isystem include%s|-isystem $out/include &|" "$specs" >"$1/musl.specs"
	sed "s|$out|$1|" "$1/musl.specs" >"$1/here.specs" # until it is where it stays
	compile_flags+=" -ffile-prefix-map=${1%/*}=/usr/src/static" # which has a name of chance
	cat >"$1/musl.ini" <<-END
		[binaries]
		# No path of this machine's in what is made: whoever builds it gets the same bytes.
		c = ['gcc', '-specs=$out/musl.specs', '-ffile-prefix-map=$out=/usr/src/static']
		ar = 'gcc-ar'
		strip = 'strip'
		pkgconfig = 'pkg-config' # its name until meson 1.3
		pkg-config = 'pkg-config'

		[properties]
		needs_exe_wrapper = false
		pkg_config_libdir = '$out/lib/pkgconfig'

		[host_machine]
		system = 'linux'
		cpu_family = 'x86_64'
		cpu = 'x86_64'
		endian = 'little'
	END
}

compile_flags='-O2 -g -fPIE -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables'

# Not by their own configure and make, which take a minute or packages more: the same files, and the headers that those make.
compile() # PREFIX NAME FLAG... -- FILE...
{
	local archive=$1/lib/lib$2.a file flags=() objects=() specs=$1/here.specs

	shift 2
	while [ "$1" != -- ]; do
		flags+=("$1")
		shift
	done
	for file in "${@:2}"; do
		objects+=("${file//\//_}.o")
		# shellcheck disable=SC2086 # words
		gcc "-specs=$specs" -std=gnu11 $compile_flags "${flags[@]}" -c "$file" -o "${file//\//_}.o"
	done
	ar rcs "$archive" "${objects[@]}"
}

describe() # PREFIX NAME VERSION LIBRARY [INCLUDE_DIRECTORY]
{
	printf 'Name: %s\nDescription: %s, for musl\nVersion: %s\nLibs: -L%s/lib -l%s\nCflags: -I%s/include%s\n' "$2" "$2" "$3" \
		"$out" "$4" "$out" "${5:+/$5}" >"$1/lib/pkgconfig/$2.pc"
}

# What Debian calls it, without Debian's own number.
version_of() # SOURCE
{
	basename "$sources/$1"_*.orig.tar.?z | sed -E 's/.*_//; s/([+]dfsg.*)?[.]orig[.]tar[.].*//'
}

build_http-parser() # PREFIX
{
	compile "$1" http_parser -- http_parser.c
	cp http_parser.h "$1/include/"
	describe "$1" http_parser "$(version_of http-parser)" http_parser
}

build_jansson() # PREFIX
{
	sed 's/@json_inline@/inline/; s/@json_[a-z_]*@/1/' src/jansson_config.h.in >src/jansson_config.h
	: >src/jansson_private_config.h
	compile "$1" jansson -DHAVE_{ATOMIC_BUILTINS,CLOSE,FCNTL_H,GETPID,GETTIMEOFDAY,LOCALECONV,OPEN,READ,SCHED_YIELD,SCHED_H,STDINT_H} \
		-DHAVE_{SYNC_BUILTINS,SYS_PARAM_H,SYS_STAT_H,SYS_TIME_H,SYS_TYPES_H,UNISTD_H,ENDIAN_H} -DUSE_URANDOM -Isrc -- src/*.c
	cp src/jansson.h src/jansson_config.h "$1/include/"
	describe "$1" jansson "$(version_of jansson)" jansson
}

build_libseccomp() # PREFIX
{
	local major minor micro version

	version=$(version_of libseccomp)
	IFS=. read -r major minor micro <<<"$version"
	sed "s/@VERSION_MAJOR@/$major/; s/@VERSION_MINOR@/$minor/; s/@VERSION_MICRO@/$micro/" include/seccomp.h.in >include/seccomp.h
	: >configure.h
	compile "$1" seccomp -DHAVE_LINUX_SECCOMP_H -D_GNU_SOURCE -I. -Iinclude -- \
		$(cd src && printf 'src/%s\n' *.c | grep -v 'arch-syscall-\(dump\|validate\)')
	cp include/seccomp.h "$1/include/"
	describe "$1" libseccomp "$version" seccomp
}

make_libcbor_headers() # VERSION
{
	local major minor patch

	IFS=. read -r major minor patch <<<"$1"
	sed -E "s/@CBOR_VERSION_MAJOR@|\\$\\{CBOR_VERSION_MAJOR\\}/$major/; s/@CBOR_VERSION_MINOR@|\\$\\{CBOR_VERSION_MINOR\\}/$minor/
		s/@CBOR_VERSION_PATCH@|\\$\\{CBOR_VERSION_PATCH\\}/$patch/
		s/\\$\\{CBOR_BUFFER_GROWTH\\}/2/; s/\\$\\{CBOR_MAX_STACK_SIZE\\}/2048/; s/^#cmakedefine01 (.*)/#define \\1 0/
		s/\\$\\{CBOR_[A-Z_]*\\}//" src/cbor/configuration.h.in >src/cbor/configuration.h
	printf '#define CBOR_EXPORT\n#define CBOR_NO_EXPORT\n' >src/cbor/cbor_export.h
}

build_libcbor() # PREFIX
{
	local version

	version=$(sed -nE "s/^set\\(CBOR_VERSION_(MAJOR|MINOR|PATCH) \"?([0-9]+)\"?\\).*/\\2/Ip" CMakeLists.txt | paste -sd.)
	make_libcbor_headers "$version"
	compile "$1" cbor -Isrc -- src/*.c src/cbor/*.c src/cbor/internal/*.c
	cp src/cbor.h "$1/include/"
	(cd src && cp --parents cbor/*.h cbor/internal/*.h "$1/include/")
	describe "$1" libcbor "$version" cbor
}

build_libmicrohttpd() # PREFIX
{
	patch -p1 <"$SNAPSAFE_ROOT/tools/libmicrohttpd.patch"
	CC="gcc -specs=$1/here.specs" CFLAGS=$compile_flags ./configure --quiet --prefix="$1" --disable-shared \
		--enable-static --disable-https --disable-bauth --disable-dauth --disable-postprocessor --disable-curl --disable-doc \
		--disable-examples --disable-tools
	make -s -C src/microhttpd
	make -s -C src/microhttpd install
	make -s -C src/include install
	make -s install-pkgconfigDATA
	sed -i "s|$1|$out|g" "$1/lib/pkgconfig/libmicrohttpd.pc" # where it is in the end
}

# All of it: it is small, and what nobody calls is left out. Without the variants for vector instructions, for which tokens
# are too short.
build_libsodium() # PREFIX
{
	cp builds/msvc/version.h src/libsodium/include/sodium/
	compile "$1" sodium -DCONFIGURED=1 -DHAVE_{GETPID,GETRANDOM,INLINE_ASM,LINUX_COMPATIBLE_GETRANDOM,SYS_RANDOM_H,TI_MODE,WEAK_SYMBOLS} \
		-DHAVE_{ATOMIC_OPS,EXPLICIT_BZERO,C_VARARRAYS,POSIX_MEMALIGN,PTHREAD} -DNATIVE_LITTLE_ENDIAN -D_GNU_SOURCE \
		-Isrc/libsodium/include/sodium -Isrc/libsodium/include -w -- $(find src -name '*.c' | sort)
	(cd src/libsodium/include && cp --parents sodium.h sodium/*.h "$1/include/")
	describe "$1" libsodium "$(version_of libsodium)" sodium
}

build_liburing() # PREFIX
{
	./configure --cc="gcc -specs=$1/here.specs"
	make -s -C src ENABLE_SHARED=0 CFLAGS="$compile_flags -fno-stack-protector" liburing.a
	cp src/liburing.a "$1/lib/"
	(cd src/include && cp --parents liburing.h liburing/*.h "$1/include/")
	describe "$1" liburing "$(version_of liburing)" uring
}

build_xxhash() # PREFIX
{
	compile "$1" xxhash -- xxhash.c
	cp xxhash.h "$1/include/"
	describe "$1" libxxhash "$(version_of xxhash)" xxhash
}

# What Debian's has (its unix port is a thread, mailboxes and devices), less all that the metadata service does not use.
make_lwip_options() # DIRECTORY
{
	cat >"$1/lwipopts.h" <<-END
		#define NO_SYS 1
		#define SYS_LIGHTWEIGHT_PROT 0
		#define LWIP_NETCONN 0
		#define LWIP_SOCKET 0
		#define LWIP_IPV6 0
		#define LWIP_ICMP 0
		#define LWIP_RAW 0
		#define LWIP_UDP 0
		#define IP_REASSEMBLY 0
		#define IP_FRAG 0
		#define LWIP_STATS 0
		#define MEM_ALIGNMENT 8
		#define MEM_LIBC_MALLOC 1
		#define MEMP_MEM_MALLOC 1
		#define LWIP_NETIF_TX_SINGLE_PBUF 1
		#define TCP_MSS 1460
		#define TCP_WND 0xFFFF
		#define LWIP_WND_SCALE 1
		#define TCP_RCV_SCALE 1
		#define TCP_SND_BUF TCP_WND
		#define SO_REUSE 1
	END
	mkdir -p "$1/arch"
	cat >"$1/arch/cc.h" <<-END
		#include <errno.h>
		#include <stdlib.h>
		#include <sys/time.h>
		#include <sys/types.h>
		#define LWIP_ERRNO_STDINCLUDE 1
		#define LWIP_TIMEVAL_PRIVATE 0
		#define LWIP_DONT_PROVIDE_BYTEORDER_FUNCTIONS
		#define LWIP_RAND() lwip_random() /* the kernel's: a clone must not repeat its original's */
		extern unsigned int lwip_random(void);
		#define LWIP_PLATFORM_DIAG(x) do {} while (0)
		#define LWIP_PLATFORM_ASSERT(x) abort()
	END
}

# What a port of lwIP brings.
make_lwip_port()
{
	cat >src/core/port.c <<-END
		#include <lwip/sys.h>
		#include <stdlib.h>
		#include <sys/random.h>
		#include <time.h>
		u32_t sys_now(void)
		{
			struct timespec t;

			clock_gettime(CLOCK_MONOTONIC, &t);
			return (u32_t)(t.tv_sec * 1000 + t.tv_nsec / 1000000);
		}
		unsigned int lwip_random(void)
		{
			unsigned int number;

			if (getrandom(&number, sizeof(number), 0) != sizeof(number))
				abort();
			return number;
		}
	END
}

build_lwip() # PREFIX
{
	local include=$1/include/lwip

	mkdir -p "$include"
	cp -R src/include/lwip src/include/netif "$include/"
	make_lwip_options "$include"
	make_lwip_port
	compile "$1" lwip -D_GNU_SOURCE -I"$include" -- src/core/*.c src/core/ipv4/*.c src/netif/ethernet.c
	describe "$1" lwip "$(version_of lwip)" lwip lwip
}
