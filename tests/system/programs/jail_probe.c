// SPDX-License-Identifier: Apache-2.0
/*
 * Stands in for the monitor in a jail, static as it is: writes to /report.json what it is, sees and may do there, and with
 * --wait goes on until it is killed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static FILE *out;

static void string(const char *text)
{
	fputc('"', out);
	for (; *text; text++)
		fprintf(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
	fputc('"', out);
}

static void list(const char *name, char **words)
{
	fprintf(out, "\"%s\": [", name);
	for (char **word = words; *word; word++) {
		fputs(word == words ? "" : ", ", out);
		string(*word);
	}
	fputs("],\n", out);
}

static void number(const char *name, long long value)
{
	fprintf(out, "\"%s\": %lld,\n", name, value);
}

/* 0, or the error's number. */
static void outcome(const char *name, long long result)
{
	number(name, result < 0 ? errno : 0);
}

static void tree(const char *directory)
{
	DIR *d = opendir(*directory ? directory : "/");
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		char path[512];
		struct stat st;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(path, sizeof(path), "%s/%.255s", directory, entry->d_name);
		if (lstat(path, &st) < 0 || strcmp(path, "/report.json") == 0)
			continue;
		string(path);
		fprintf(out, ": [\"%o\", %u, %u, \"%u:%u\"],\n", st.st_mode, st.st_uid, st.st_gid, major(st.st_rdev),
			minor(st.st_rdev));
		if (S_ISDIR(st.st_mode))
			tree(path);
	}
	if (d)
		closedir(d);
}

static void descriptors(void)
{
	bool first = true;

	fputs("\"descriptors\": [", out);
	for (int fd = 0; fd < 1024; fd++) {
		if (fd == fileno(out) || fcntl(fd, F_GETFD) < 0)
			continue;
		fprintf(out, "%s%d", first ? "" : ", ", fd);
		first = false;
	}
	fputs("],\n", out);
}

static void identity(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = { 0 };
	struct rlimit limit;
	unsigned int bounding = 0;
	struct stat st = { 0 };
	mode_t mask = umask(0);

	umask(mask);
	number("umask", mask);
	number("pid", getpid());
	number("sid_is_own", getsid(0) == getpid());
	number("uid", getuid());
	number("euid", geteuid());
	number("gid", getgid());
	number("groups", getgroups(0, NULL));
	syscall(SYS_capget, &header, caps);
	number("capabilities", caps[0].effective | caps[0].permitted | caps[0].inheritable | caps[1].effective |
				       caps[1].permitted | caps[1].inheritable);
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		bounding += prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1;
	number("bounding", bounding);
	number("no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	getrlimit(RLIMIT_NOFILE, &limit);
	number("max_files", (long long)limit.rlim_cur);
	number("max_files_hard", (long long)limit.rlim_max);
	getrlimit(RLIMIT_FSIZE, &limit);
	number("max_file_size", (long long)limit.rlim_cur);
	fstat(1, &st);
	number("stdout_is_null", S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

static void attempts(void)
{
	struct ifreq tap = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int tun = open("/dev/net/tun", O_RDWR);
	char byte;

	outcome("open_kvm", open("/dev/kvm", O_RDWR));
	outcome("read_urandom", read(open("/dev/urandom", O_RDONLY), &byte, 1));
	outcome("open_tun", tun);
	strcpy(tap.ifr_name, "jailtap");
	outcome("attach_tap", ioctl(tun, TUNSETIFF, &tap));
	outcome("make_socket", mkdir("/run/x", 0700));
	outcome("see_proc", access("/proc", F_OK));
	outcome("make_disk", mknod("/disk", S_IFBLK | 0600, makedev(8, 0)));
	outcome("make_root", setuid(0));
	outcome("new_root", chroot("/run"));
	outcome("mount_proc", mount("proc", "/run", "proc", 0, NULL));
	outcome("leave_by_dotdot", chdir("../../../../../.."));
	outcome("see_etc", access("etc", F_OK));
	outcome("change_network", socket(AF_INET, SOCK_RAW, 1));
}

int main(int argc, char **argv)
{
	int fd;

	umask(umask(0));
	fd = open("/report.part", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	out = fd < 0 ? NULL : fdopen(fd, "w");
	if (!out)
		return 3;
	fputs("{\n", out);
	list("args", argv);
	list("environment", environ);
	descriptors();
	fputs("\"tree\": {\n", out);
	tree("");
	fputs("\"/report.part\": []},\n", out);
	identity();
	attempts();
	fputs("\"interfaces\": [", out);
	for (struct if_nameindex *all = if_nameindex(), *i = all; i && i->if_index; i++) {
		fputs(i == all ? "" : ", ", out);
		string(i->if_name);
	}
	fputs("]\n}\n", out);
	if (fclose(out) || rename("/report.part", "/report.json"))
		return 4;
	printf("probe\n");
	fflush(stdout);
	if (argc > 1 && strcmp(argv[argc - 1], "--wait") == 0)
		pause();
	return 0;
}
