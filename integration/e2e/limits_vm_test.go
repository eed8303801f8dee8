//go:build vm

package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// TestLimits runs containers with limits on one engine, and does to them what users do
// to containers.
func TestLimits(t *testing.T) {
	s := newTestEngine(t, "limits", map[string]any{})
	for _, part := range []struct {
		name string
		run  func(*testing.T, *testEngine)
	}{
		{"PropertiesAreSet", setProperties},
		{"BadValuesAreRefused", refuseBadValues},
		{"AStoppedContainerIsReadAndStarted", stopLimitedContainer},
		{"InodesAreLimited", limitInodes},
		{"ALimitIsRaisedAndLowered", raiseAndLowerLimit},
		{"AnOperatorChangesLimitsUnderLoad", changeLimitsUnderLoad},
		{"ALimitCommandIsKilled", killLimitCommand},
		{"LimitsSurviveAKilledPlugin", killPluginUnderLimits},
		{"LimitsSurviveARestartOfTheEngine", restartEngineUnderLimits},
		{"DebianWorksUpToItsLimit", limitDebian},
		{"ADefaultLimitsAllContainers", limitByDefault},
	} {
		t.Run(part.name, func(t *testing.T) {
			defer s.removeLeftovers(t)
			part.run(t, s)
			s.requireBaseline(t)
			s.requireNoLimitRecords(t)
		})
	}
	s.Docker(t, "rmi", "tiny")
	s.layers = nil
	s.requireBaseline(t)
	s.Stop(t)
	s.requireStopped(t)
}

// limitDebian uses a Debian container up to its limit and beyond. Its neighbours must
// not notice.
func limitDebian(t *testing.T, s *testEngine) {
	const limit = 96 * mib
	s.Docker(t, "import", "/lab/base/debian-base.tar", "debian")
	run := func(name string, options ...string) {
		s.Docker(t, append(append([]string{"run", "-d", "--network", "none", "--stop-signal", "KILL", "--name", name, "-v", "/lab/base/debs:/debs:ro"}, options...),
			"debian", "sleep", "1000000")...)
	}
	// Package managers sync each file, which takes too long here without sync=disabled.
	run("box", "--storage-opt", "size=96M", "--storage-opt", "sync=disabled")
	run("limited-neighbour", "--storage-opt", "size=20M")
	run("neighbour")
	s.requireLimitDatasets(t, 2) // of three containers
	requireTotal(t, s, "box", limit)
	if out := strings.Fields(s.mustExecShell(t, "box", "df -B1 --output=size / | tail -n 1"))[0]; out != strconv.FormatInt(s.readTotal(t, "box"), 10) {
		t.Errorf("df in the container says %s", out)
	}
	if total := s.readTotal(t, "neighbour"); total < 1<<30 {
		t.Errorf("df shows %d bytes in a container without a limit", total)
	}

	changeDebian(t, s)
	requireSizesReported(t, s, limit)
	s.fillToLimit(t, "box", limit)
	for _, neighbour := range []string{"limited-neighbour", "neighbour"} {
		s.mustExecShell(t, neighbour, "rm /etc/debian_version && dd if=/dev/urandom of=/fine bs=1M count=8 2>&1")
	}
	commitDebian(t, s)
	s.RemoveContainers(t, "limited-neighbour", "neighbour", "box")
	s.Docker(t, "rmi", "debian")
}

// changeDebian makes the changes that an overlay on a limited directory could fail at.
func changeDebian(t *testing.T, s *testEngine) {
	t.Helper()
	s.mustExecShell(t, "box", `set -e
		rm /etc/debian_version
		rm -r /usr/share/doc; mkdir /usr/share/doc; echo new >/usr/share/doc/new
		ln -sfn /nowhere /etc/os-release
		ln /usr/bin/env /usr/bin/env-too; mkfifo /fifo; mknod /null c 1 3
		mv /usr/share/common-licenses /moved
		echo more >>/etc/passwd
		dpkg -i /debs/hello_*.deb /debs/tree_*.deb /debs/less_*.deb >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
		hello; tree --version`)
	if out := s.mustExecShell(t, "box", "ls /usr/share/doc; readlink /etc/os-release; ls -1 /moved | head -n 1; tail -n 1 /etc/passwd; test ! -e /etc/debian_version && echo gone"); !strings.HasPrefix(out, "hello\nless\nnew\ntree\n/nowhere\n") || !strings.HasSuffix(out, "more\ngone") {
		t.Errorf("the container holds\n%s", out)
	}
	changes := strings.Split(s.Docker(t, "diff", "box"), "\n")
	for _, want := range []string{"D /etc/debian_version", "C /etc/os-release", "C /usr/share/doc", "A /usr/share/doc/new", "D /usr/share/common-licenses", "A /fifo", "C /etc/passwd", "A /usr/bin/hello"} {
		if !slices.Contains(changes, want) {
			t.Errorf("docker diff does not say %q", want)
		}
	}
}

// requireSizesReported checks the sizes that docker inspect and docker ps -s show.
func requireSizesReported(t *testing.T, s *testEngine, limit int64) {
	t.Helper()
	for _, dir := range []string{"UpperDir", "WorkDir", "MergedDir"} {
		if fi, err := os.Stat(s.hostPath(t, s.readDriverData(t, "box", dir))); err != nil || !fi.IsDir() {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if lowers := strings.Split(s.readDriverData(t, "box", "LowerDir"), ":"); len(lowers) != 2 { // the init layer and the image's layer
		t.Errorf("LowerDir: %q", lowers)
	}
	if size := s.readDriverData(t, "box", "Size"); size != strconv.FormatInt(limit, 10) {
		t.Errorf("inspect says Size %s", size)
	}
	run(t, "zpool", "sync", "tank")
	used, err := strconv.ParseInt(s.readDriverData(t, "box", "Used"), 10, 64)
	must(t, err)
	if refers := readProperty(t, s.readDriverData(t, "box", "Dataset"), "referenced"); strconv.FormatInt(used, 10) != refers {
		t.Errorf("inspect says Used %d, zfs that it refers to %s", used, refers)
	}
	s.mustExecShell(t, "box", "dd if=/dev/zero of=/zeros bs=1M count=7 2>&1")
	before := s.Docker(t, "ps", "-s", "--filter", "name=^box$", "--format", "{{.Size}}")
	size, err := strconv.ParseInt(s.Docker(t, "inspect", "-s", "-f", "{{.SizeRw}}", "box"), 10, 64)
	must(t, err)
	if size < 7*mib || size > 20*mib || !strings.Contains(before, "MB (virtual ") {
		t.Errorf("docker ps -s says %q, inspect -s %d", before, size)
	}
	s.mustExecShell(t, "box", "rm /zeros")
}

// commitDebian commits the limited container. The image has no limit.
func commitDebian(t *testing.T, s *testEngine) {
	t.Helper()
	s.Docker(t, "commit", "box", "committed")
	s.StopContainers(t, "box")
	s.requireOnlyAttached(t, "limited-neighbour")
	s.requireLimitDatasets(t, 2) // those of two containers, and none of the commit's
	out := runTiny(t, s.Engine, "committed", "sh", "-c", "hello; readlink /etc/os-release; test ! -e /etc/debian_version && test ! -e /usr/share/common-licenses && ls /usr/share/doc")
	if out != "Hello, world!\n/nowhere\nhello\nless\nnew\ntree" {
		t.Errorf("the image made of the container holds %q", out)
	}
	verifyImage(t, s.Engine, "committed")
	s.Docker(t, "rmi", "committed")
}

// requireOnlyAttached fails the test unless this container's dataset, and no other's,
// is mounted.
func (s *testEngine) requireOnlyAttached(t testing.TB, container string) {
	t.Helper()
	want := s.readDriverData(t, container, "Dataset")
	err := poll(func() error {
		seen := map[string]bool{}
		for _, m := range listMounts(t) {
			if strings.HasPrefix(m.Source, s.dataset+"/") {
				seen[m.Source] = true
			}
		}
		if len(seen) != 1 || !seen[want] {
			return fmt.Errorf("mounted are %v, want %s", seen, want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// stopLimitedContainer examines a stopped container, and starts it again.
func stopLimitedContainer(t *testing.T, s *testEngine) {
	startContainer(t, s.Engine, "box", "--storage-opt", "size=24M")
	s.requireOneDataset(t, "box")
	s.StopContainers(t, "box")
	s.requireDetached(t)
	if out := s.Docker(t, "diff", "box"); !strings.Contains(out, "A /own") || !strings.Contains(out, "D /etc/marker") {
		t.Errorf("the stopped container's changes:\n%s", out)
	}
	if out := s.Docker(t, "inspect", "-s", "-f", "{{.SizeRw}}", "box"); out != strconv.Itoa(len("box\n")) {
		t.Errorf("the stopped container's size: %s", out)
	}
	s.Docker(t, "commit", "box", "committed")
	if out := runTiny(t, s.Engine, "committed", "cat", "/own"); out != "box" {
		t.Errorf("the image holds %q", out)
	}
	s.requireDetached(t)
	s.Docker(t, "rmi", "committed")
	s.StartContainers(t, "box")
	requireIntact(t, s.Engine, "box")
	requireTotal(t, s, "box", 24*mib)
	s.fillToLimit(t, "box", 24*mib)
	requireIntact(t, s.Engine, "box")
	s.RemoveContainers(t, "box")
}

// limitInodes makes files until the limit refuses one. ZFS enforces the limit with a
// delay of some transaction groups, so the loop is long enough for the fastest machine.
func limitInodes(t *testing.T, s *testEngine) {
	startContainer(t, s.Engine, "box", "--storage-opt", "inodes=300")
	s.requireOneDataset(t, "box")
	if said := s.readDriverData(t, "box", "Inodes"); said != "300" {
		t.Errorf("inspect says Inodes %q", said)
	}
	out, err := s.execShell("box", "mkdir /many; i=0; while [ $i -lt 10000000 ]; do echo >/many/$i || exit 7; i=$((i+1)); done")
	if err == nil || !strings.Contains(out, "quota exceeded") {
		t.Errorf("a container limited to 300 files made 10000000: %v %s", err, out)
	}
	t.Logf("a limit of 300 let %s files through", s.mustExecShell(t, "box", "ls /many | wc -l"))
	// Deleting files would help, too, but at a limit each deletion waits for a
	// transaction group: too slow here.
	must(t, s.dialPlugin(t).SetLimits(t.Context(), s.readLayerID(t, "box"), map[string]string{"inodes": "1000000"}))
	waitFor(t, func() error {
		_, err := s.execShell("box", "echo again >/again")
		return err
	})
	requireIntact(t, s.Engine, "box")
	s.RemoveContainers(t, "box")
	// The file system with all these files ends in the background.
	if err := poll(func() error { return compareLists(inguest.ListDatasets(t, s.dataset), []string{s.dataset}) }); err != nil {
		t.Error(err)
	}
}

// raiseAndLowerLimit changes the limit of a running container through the plugin's own
// call.
func raiseAndLowerLimit(t *testing.T, s *testEngine) {
	ctx := context.Background()
	c := s.dialPlugin(t)
	startContainer(t, s.Engine, "box", "--storage-opt", "size=16M")
	layer := s.readLayerID(t, "box")
	must(t, c.SetLimits(ctx, layer, map[string]string{"size": "40M"}))
	if said := s.readDriverData(t, "box", "Size"); said != strconv.Itoa(40*mib) {
		t.Errorf("inspect says Size %s", said)
	}
	requireTotal(t, s, "box", 40*mib)
	s.mustExecShell(t, "box", "dd if=/dev/urandom of=/kept bs=1M count=24 2>&1")
	run(t, "zpool", "sync", "tank")
	if err := c.SetLimits(ctx, layer, map[string]string{"size": "20M"}); err == nil || !strings.Contains(err.Error(), "delete files in the container first") {
		t.Errorf("a limit below what the container holds: %v", err)
	}
	requireTotal(t, s, "box", 40*mib)
	s.mustExecShell(t, "box", "rm /kept")
	run(t, "zpool", "sync", "tank")
	must(t, c.SetLimits(ctx, layer, map[string]string{"size": "20M"}))
	s.fillToLimit(t, "box", 20*mib)
	for _, refused := range []struct {
		layer, key, value, says string
	}{
		{layer, "size", "plenty", "want a size such as"},
		{layer, "sync", "disabled", "only size and inodes can be changed"},
		{"nobody", "size", "1G", "nobody"},
	} {
		if err := c.SetLimits(ctx, refused.layer, map[string]string{refused.key: refused.value}); err == nil || !strings.Contains(err.Error(), refused.says) {
			t.Errorf("%+v: %v", refused, err)
		}
	}
	requireIntact(t, s.Engine, "box")
	s.RemoveContainers(t, "box")
}

// killPluginUnderLimits kills the plugin's process under limited containers.
func killPluginUnderLimits(t *testing.T, s *testEngine) {
	startContainer(t, s.Engine, "box", "--storage-opt", "size=24M")
	startContainer(t, s.Engine, "removed", "--storage-opt", "size=24M")
	must(t, killPlugin())
	s.RemoveContainers(t, "removed")
	s.requireOneDataset(t, "box")
	requireIntact(t, s.Engine, "box")
	s.fillToLimit(t, "box", 24*mib)
	s.StopContainers(t, "box")
	s.requireDetached(t)
	s.StartContainers(t, "box")
	requireIntact(t, s.Engine, "box")
	requireTotal(t, s, "box", 24*mib)
	s.RemoveContainers(t, "box")
}

// restartEngineUnderLimits restarts the engine with two limited containers, one running
// and one stopped.
func restartEngineUnderLimits(t *testing.T, s *testEngine) {
	startContainer(t, s.Engine, "stopped", "--storage-opt", "size=24M")
	s.StopContainers(t, "stopped")
	startContainer(t, s.Engine, "always", "--storage-opt", "size=20M", "--restart", "always")
	s.Stop(t)
	s.requireStopped(t)
	s.requireDetached(t)
	s.Again(t)
	waitFor(t, func() error { return checkRunning(s.Engine, "always") })
	requireIntact(t, s.Engine, "always")
	s.fillToLimit(t, "always", 20*mib)
	s.StartContainers(t, "stopped")
	requireIntact(t, s.Engine, "stopped")
	requireTotal(t, s, "stopped", 24*mib)
	s.RemoveContainers(t, "stopped", "always")
}

// limitByDefault sets a default limit for all containers.
func limitByDefault(t *testing.T, s *testEngine) {
	s.restartWithOptions(t, "overlayzfs.size=24M")
	if info := s.Docker(t, "info"); findLine(info, "Quota:", "24MiB by default") == "" {
		t.Errorf("docker info:\n%s", info)
	}
	startContainer(t, s.Engine, "box")
	dataset := s.requireOneDataset(t, "box") // the -init layer has none
	if limit := readProperty(t, dataset, "refquota"); limit != strconv.Itoa(24*mib) {
		t.Errorf("refquota is %s", limit)
	}
	requireTotal(t, s, "box", 24*mib)
	startContainer(t, s.Engine, "free", "--storage-opt", "size=0")
	startContainer(t, s.Engine, "other", "--storage-opt", "size=20M")
	requireTotal(t, s, "other", 20*mib)
	if total := s.readTotal(t, "free"); total < 1<<30 {
		t.Errorf("df shows %d bytes in a container with size=0", total)
	}
	// A build runs containers, too.
	buildImage(t, s.Engine, "built")
	if out := runTiny(t, s.Engine, "built", "cat", "/both"); out != "payload\nbuilt" {
		t.Errorf("the image built holds %q", out)
	}
	verifyImage(t, s.Engine, "built")
	s.requireLimitDatasets(t, 2) // of two containers, and none of the build's
	s.Docker(t, "rmi", "built")
	s.RemoveContainers(t, "other", "free")

	// A container keeps its limit when the default changes.
	s.StopContainers(t, "box")
	s.restartWithOptions(t)
	s.StartContainers(t, "box")
	requireIntact(t, s.Engine, "box")
	s.fillToLimit(t, "box", 24*mib)
	s.RemoveContainers(t, "box")
}

// restartWithOptions restarts the engine with other storage options.
func (s *testEngine) restartWithOptions(t *testing.T, options ...string) {
	t.Helper()
	s.Stop(t)
	s.requireStopped(t)
	delete(s.Config, "storage-opts")
	if len(options) > 0 {
		s.Config["storage-opts"] = options
	}
	s.Again(t)
}

// setProperties sets dataset properties for one container's files.
func setProperties(t *testing.T, s *testEngine) {
	chosen := map[string]string{"recordsize": "16384", "compression": "zstd-7", "sync": "disabled", "logbias": "throughput", "primarycache": "metadata"}
	args := []string{}
	for name, value := range chosen {
		args = append(args, "--storage-opt", name+"="+strings.Replace(value, "16384", "16K", 1))
	}
	startContainer(t, s.Engine, "box", args...)
	dataset := s.requireOneDataset(t, "box")
	for name, want := range chosen {
		if got := run(t, "zfs", "get", "-Hp", "-o", "value,source", name, dataset); got != want+"\tlocal" {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
		if source := run(t, "zfs", "get", "-H", "-o", "source", name, s.dataset); source == "local" {
			t.Errorf("%s was set on the store's dataset", name)
		}
	}
	if limit := readProperty(t, dataset, "refquota"); limit != "0" {
		t.Errorf("refquota is %s", limit)
	}
	requireIntact(t, s.Engine, "box")
	s.RemoveContainers(t, "box")
}

// refuseBadValues asks for options that cannot work. The engine says why, and the
// attempt leaves nothing behind.
func refuseBadValues(t *testing.T, s *testEngine) {
	for option, says := range map[string]string{
		"size=plenty":        `storage option size="plenty": want a size such as 500M or 10G`,
		"size=-1":            `storage option size="-1": want a size`,
		"size=":              `storage option size="": want a size`,
		"size=1000":          "the smallest limit is 1M",
		"size=99999999999T":  "want a size",
		"inodes=many":        `storage option inodes="many": want a number of files`,
		"inodes=2":           "the smallest limit is 16 files",
		"recordsize=3K":      `storage option recordsize="3K": want a power of two`,
		"compression=rar":    `storage option compression="rar": want on, off, lz4`,
		"sync=sometimes":     "want standard, always or disabled",
		"logbias=speed":      "want latency or throughput",
		"primarycache=some":  "want all, metadata or none",
		"mountpoint=/tmp/xx": `unknown storage option "mountpoint"`,
		"flavour=banana":     "known are size, inodes, xino, compression",
	} {
		out, err := s.Try("run", "--rm", "--network", "none", "--storage-opt", option, "tiny", "true")
		if err == nil {
			t.Errorf("--storage-opt %s: the container ran", option)
		} else if !strings.Contains(out, says) {
			t.Errorf("--storage-opt %s: %s\nwant %q", option, out, says)
		}
	}
}
