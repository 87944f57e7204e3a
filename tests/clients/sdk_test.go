// SPDX-License-Identifier: Apache-2.0

// Package clients drives the monitor with Firecracker's Go SDK, whose handlers are used as they are.
//
// Where KVM runs guests (SNAPSAFE_GUEST=1) the guest must come up too; without that the monitor alone is tested.
package clients

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	firecracker "github.com/firecracker-microvm/firecracker-go-sdk"
	"github.com/firecracker-microvm/firecracker-go-sdk/client/models"
	"github.com/sirupsen/logrus"
)

const (
	tap      = "tap0" // made by tests/clients/run
	macGuest = "06:00:AC:10:00:02"
	bootArgs = "panic=1 reboot=k tsc=reliable console=ttyS0 pci=off i8042.noaux i8042.nokbd i8042.nopnp"
	patience = 120 * time.Second
)

// root is the top of the repository: go test starts in the package's directory.
func root(t *testing.T) string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// console collects what the guest prints while the test looks for a line in it.
type console struct {
	lock sync.Mutex
	text bytes.Buffer
}

func (c *console) Write(p []byte) (int, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.text.Write(p)
}

func (c *console) String() string {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.text.String()
}

func guestRuns() bool {
	return os.Getenv("SNAPSAFE_GUEST") != ""
}

func (c *console) waitFor(t *testing.T, text string) {
	if !guestRuns() {
		return
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if strings.Contains(c.String(), text) {
			return
		}
	}
	t.Fatalf("the guest has not printed %q within %v:\n%s", text, patience, c.String())
}

func config(t *testing.T, dir string) firecracker.Config {
	image := filepath.Join(root(t), "build/image")
	return firecracker.Config{
		SocketPath:      filepath.Join(dir, "api.socket"),
		LogPath:         filepath.Join(dir, "log"),
		LogLevel:        "Debug",
		KernelImagePath: filepath.Join(image, "vmlinux-6.1-cloud"),
		InitrdPath:      filepath.Join(image, "initrd-6.1-cloud.img"),
		KernelArgs:      bootArgs,
		Drives:          firecracker.NewDrivesBuilder(filepath.Join(image, "rootfs.ext4")).Build(),
		MachineCfg: models.MachineConfiguration{
			VcpuCount:       firecracker.Int64(1),
			MemSizeMib:      firecracker.Int64(256),
			TrackDirtyPages: true,
		},
		ForwardSignals: []os.Signal{},
	}
}

func logger(t *testing.T) *logrus.Entry {
	log := logrus.New()
	log.SetLevel(logrus.WarnLevel)
	return logrus.NewEntry(log)
}

func monitor(ctx context.Context, t *testing.T, cfg firecracker.Config, out *console) firecracker.Opt {
	cmd := firecracker.VMCommandBuilder{}.
		WithBin(filepath.Join(root(t), "bin/snapsafe-vmm")).
		WithSocketPath(cfg.SocketPath).
		WithStdout(out).
		WithStderr(out).
		Build(ctx)
	return firecracker.WithProcessRunner(cmd)
}

func newMachine(ctx context.Context, t *testing.T, cfg firecracker.Config, opts ...firecracker.Opt) *firecracker.Machine {
	m, err := firecracker.NewMachine(ctx, cfg, append(opts, firecracker.WithLogger(logger(t)))...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// stop ends the monitor by SIGTERM; the SDK must see that it died by that signal, not that the guest has rebooted.
func stop(t *testing.T, m *firecracker.Machine) {
	t.Helper()
	must(t, "StopVMM", m.StopVMM())
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := m.Wait(ctx)
	if err == nil || !strings.Contains(err.Error(), syscall.SIGTERM.String()) {
		t.Fatalf("Wait() after StopVMM: %v; the process must have died by SIGTERM", err)
	}
}

func TestVersion(t *testing.T) {
	ctx := context.Background()
	cfg := config(t, t.TempDir())
	m := newMachine(ctx, t, cfg, monitor(ctx, t, cfg, &console{}))
	must(t, "Start", m.Start(ctx))
	version, err := m.GetFirecrackerVersion(ctx)
	must(t, "GetFirecrackerVersion", err)
	if !strings.HasPrefix(version, "1.17.") {
		t.Errorf("version %q", version)
	}
	info, err := m.DescribeInstanceInfo(ctx)
	must(t, "DescribeInstanceInfo", err)
	if *info.State != models.InstanceInfoStateRunning || *info.AppName != "Firecracker" {
		t.Errorf("state %q, app name %q", *info.State, *info.AppName)
	}
	stop(t, m)
}

// A balloon without a driver refuses, as Firecracker's does.
func updateBalloon(ctx context.Context, t *testing.T, m *firecracker.Machine, mib int64) {
	err := m.UpdateBalloon(ctx, mib)
	if !guestRuns() {
		if err == nil || !strings.Contains(err.Error(), "Device not activated yet") {
			t.Errorf("UpdateBalloon without a driver: %v", err)
		}
		return
	}
	must(t, "UpdateBalloon", err)
	must(t, "UpdateBalloonStats", m.UpdateBalloonStats(ctx, 2))
	_, err = m.GetBalloonStats(ctx)
	must(t, "GetBalloonStats", err)
}

// Every device that the SDK knows, then a snapshot, and a second machine from it.
func TestSnapshotOfAMachineWithEveryDevice(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir := t.TempDir()
	cfg := config(t, dir)
	cfg.NetworkInterfaces = firecracker.NetworkInterfaces{{
		StaticConfiguration: &firecracker.StaticNetworkConfiguration{MacAddress: macGuest, HostDevName: tap},
		AllowMMDS:           true,
		OutRateLimiter: firecracker.NewRateLimiter(
			firecracker.TokenBucketBuilder{}.WithBucketSize(1<<20).WithRefillDuration(time.Second).Build(),
			firecracker.TokenBucketBuilder{}.WithBucketSize(1000).WithRefillDuration(time.Second).Build()),
	}}
	cfg.VsockDevices = []firecracker.VsockDevice{{ID: "vsock0", Path: filepath.Join(dir, "vsock"), CID: 3}}
	cfg.MmdsVersion = firecracker.MMDSv2
	out := &console{}
	m := newMachine(ctx, t, cfg, monitor(ctx, t, cfg, out))
	m.Handlers.FcInit = m.Handlers.FcInit.
		AppendAfter(firecracker.CreateMachineHandlerName, firecracker.NewCreateBalloonHandler(16, true, 1)).
		AppendAfter(firecracker.ConfigMmdsHandlerName, firecracker.NewSetMetadataHandler(map[string]string{"colour": "green"}))
	must(t, "Start", m.Start(ctx))
	out.waitFor(t, "login")

	must(t, "UpdateMetadata", m.UpdateMetadata(ctx, map[string]string{"shape": "round"}))
	metadata := map[string]string{}
	must(t, "GetMetadata", m.GetMetadata(ctx, &metadata))
	if metadata["colour"] != "green" || metadata["shape"] != "round" {
		t.Errorf("metadata %v", metadata)
	}
	balloon, err := m.GetBalloonConfig(ctx)
	must(t, "GetBalloonConfig", err)
	if *balloon.AmountMib != 16 {
		t.Errorf("balloon of %d MiB, 16 were asked for", *balloon.AmountMib)
	}
	updateBalloon(ctx, t, m, 32)
	must(t, "UpdateGuestNetworkInterfaceRateLimit", m.UpdateGuestNetworkInterfaceRateLimit(ctx, "1",
		firecracker.RateLimiterSet{InRateLimiter: firecracker.NewRateLimiter(
			firecracker.TokenBucketBuilder{}.WithBucketSize(2<<20).WithRefillDuration(time.Second).Build(),
			firecracker.TokenBucketBuilder{}.WithBucketSize(2000).WithRefillDuration(time.Second).Build())}))

	memory, state := filepath.Join(dir, "memory"), filepath.Join(dir, "state")
	must(t, "PauseVM", m.PauseVM(ctx))
	must(t, "CreateSnapshot", m.CreateSnapshot(ctx, memory, state))
	must(t, "ResumeVM", m.ResumeVM(ctx))
	stop(t, m)
	if info, err := os.Stat(memory); err != nil || info.Size() != 256<<20 {
		t.Errorf("memory file %v, %v: it must be as long as the memory", info, err)
	}

	clone := config(t, dir)
	clone.SocketPath = filepath.Join(dir, "clone.socket")
	out = &console{}
	m = newMachine(ctx, t, clone, monitor(ctx, t, clone, out), firecracker.WithSnapshot(memory, state,
		func(s *firecracker.SnapshotConfig) { s.EnableDiffSnapshots, s.ResumeVM = true, true }))
	must(t, "Start of the clone", m.Start(ctx))
	balloon, err = m.GetBalloonConfig(ctx)
	must(t, "GetBalloonConfig of the clone", err)
	if want := map[bool]int64{false: 16, true: 32}[guestRuns()]; *balloon.AmountMib != want {
		t.Errorf("the clone's balloon is %d MiB, %d were asked for", *balloon.AmountMib, want)
	}
	must(t, "PauseVM of the clone", m.PauseVM(ctx))
	must(t, "CreateSnapshot of the clone", m.CreateSnapshot(ctx, memory+"2", state+"2"))
	stop(t, m)
}

// The SDK's own jailer handlers: they link kernel, initrd and drives into the jail.
func TestJailer(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	cfg := config(t, dir)
	for _, file := range []*string{&cfg.KernelImagePath, &cfg.InitrdPath, cfg.Drives[0].PathOnHost} {
		*file = copied(t, *file, dir)
	}
	cfg.SocketPath, cfg.LogPath = "/api.socket", ""
	out := &console{}
	cfg.JailerCfg = &firecracker.JailerConfig{
		ID: "sdk", UID: firecracker.Int(1234), GID: firecracker.Int(1234),
		NumaNode:       firecracker.Int(99), // there is none: no cgroup for its processors
		ExecFile:       filepath.Join(root(t), "bin/snapsafe-vmm"),
		JailerBinary:   filepath.Join(root(t), "bin/snapsafe-jailer"),
		ChrootBaseDir:  dir,
		ChrootStrategy: firecracker.NewNaiveChrootStrategy(cfg.KernelImagePath),
		CgroupVersion:  "2",
		Stdout:         out, Stderr: out,
	}
	m := newMachine(ctx, t, cfg)
	must(t, "Start", m.Start(ctx))
	out.waitFor(t, "login")
	pid, err := m.PID()
	must(t, "PID", err)
	info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	must(t, "Stat of the process", err)
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 1234 {
		t.Errorf("the jailed process runs as user %d", uid)
	}
	stop(t, m)
}

// copied makes a copy that user 1234 may read and write, on the file system of the jail.
func copied(t *testing.T, path, dir string) string {
	data, err := os.ReadFile(path)
	must(t, "ReadFile", err)
	copy := filepath.Join(dir, filepath.Base(path))
	must(t, "WriteFile", os.WriteFile(copy, data, 0666))
	must(t, "Chmod", os.Chmod(copy, 0666))
	return copy
}

// A refused request ends the SDK's start with our sentence, and leaves no process.
func TestRefusedDriveEndsTheStart(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	cfg := config(t, dir)
	cfg.Drives = append(cfg.Drives, firecracker.NewDrivesBuilder("").AddDrive("/nowhere", true).Build()[0])
	m := newMachine(ctx, t, cfg, monitor(ctx, t, cfg, &console{}))
	err := m.Start(ctx)
	if err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Fatalf("Start() with a drive that is not there: %v", err)
	}
	stop(t, m)
}
