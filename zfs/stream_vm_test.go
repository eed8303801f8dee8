//go:build vm

package zfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// sent is a dataset with two snapshots, @1 and @2, and a file of each.
func sent(t *testing.T, h *Handle) (name, dir string) {
	t.Helper()
	name = fresh(t, "-o", "recordsize=1M")
	dir = mounted(t, name)
	for _, n := range []string{"1", "2"} {
		check(t, fill(dir, n, 3<<20))
		check(t, h.Snapshot([]string{name + "@" + n}, nil))
	}
	return name, dir
}

// stream is what Send writes.
func stream(t *testing.T, h *Handle, snap, from string) []byte {
	t.Helper()
	var out bytes.Buffer
	check(t, h.Send(t.Context(), snap, from, &out))
	size, err := h.SendSize(snap, from)
	check(t, err)
	t.Logf("%s from %q is %d bytes, estimated %d", snap, from, out.Len(), size)
	return out.Bytes()
}

func receive(h *Handle, snap string, o Receiving, raw []byte) error {
	b, err := ParseBegin(raw)
	if err != nil {
		return err
	}
	return h.Receive(context.Background(), snap, b, o, bytes.NewReader(raw[BeginSize:]))
}

// sameFiles compares two datasets' content.
func sameFiles(t *testing.T, got, want string) {
	t.Helper()
	if out := cli(t, "diff", "-r", mounted(t, got), want); out != "" {
		t.Error(out)
	}
}

func TestSendAndReceive(t *testing.T) {
	h := open(t)
	name, dir := sent(t, h)
	full, more := stream(t, h, name+"@1", ""), stream(t, h, name+"@2", name+"@1")
	if len(more) > len(full)*3/2 {
		t.Errorf("what has changed is %d bytes, all of it %d", len(more), len(full))
	}
	b, err := ParseBegin(more)
	check(t, err)
	guid := func(snap string) uint64 { d, err := h.DatasetStats(snap); check(t, err); return d.GUID }
	if b.ToGUID != guid(name+"@2") || b.FromGUID != guid(name+"@1") || b.ToName != name+"@2" {
		t.Errorf("%+v", b)
	}
	if features := strings.Join(b.Features(), " "); !strings.Contains(features, "large_blocks") || !strings.Contains(features, "lz4") {
		t.Errorf("it needs %s", features)
	}
	for _, guid := range b.Features() {
		if enabled, err := h.PoolFeature(testPool(t), guid); !enabled || err != nil {
			t.Errorf("%s is not enabled here: %v", guid, err)
		}
	}
	other := unused(t)
	check(t, receive(h, other+"@x", Receiving{Properties: Properties{"mountpoint": String("legacy"), "compression": String("zstd"), "xattr": String("sa")}}, full))
	equal(t, "mountpoint", get(t, other, "mountpoint"), "legacy")
	equal(t, "compression", get(t, other, "compression"), "zstd")
	d, err := h.DatasetStats(other)
	check(t, err)
	equal(t, "xattr", d.Properties["xattr"].Uint(), 2) // zfs(8) shows it as "sa" or as "on"
	check(t, receive(h, other+"@y", Receiving{}, more))
	equal(t, "guid", get(t, other+"@y", "guid"), get(t, name+"@2", "guid"))
	sameFiles(t, other, dir)
}

// TestBelowAnEncryptedDataset a stream is received, also one of files that are so
// small that they lie in a block's pointer.
func TestBelowAnEncryptedDataset(t *testing.T) {
	h := open(t)
	name := fresh(t, "-o", "compression=lz4")
	dir := mounted(t, name)
	for _, file := range []string{"a", "b"} {
		check(t, os.WriteFile(filepath.Join(dir, file), bytes.Repeat([]byte(file), 1000), 0o600))
	}
	check(t, h.Snapshot([]string{name + "@1"}, nil))
	above := unused(t)
	create := exec.Command("zfs", "create", "-o", "encryption=on", "-o", "keyformat=passphrase", "-o", "mountpoint=none", above)
	create.Stdin = strings.NewReader("a passphrase\n")
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	nowhere := Receiving{Properties: Properties{"mountpoint": String("legacy")}}
	check(t, receive(h, above+"/x@1", nowhere, stream(t, h, name+"@1", "")))
	equal(t, "encryption", get(t, above+"/x", "encryption") != "off", true)
	sameFiles(t, above+"/x", dir)
}

// TestStreamsAreThoseOfTheCommand: zfs(8) receives what Send wrote, and Receive
// what zfs(8) sent.
func TestStreamsAreThoseOfTheCommand(t *testing.T) {
	h := open(t)
	name, dir := sent(t, h)
	other, third := unused(t), unused(t)
	for _, raw := range [][]byte{stream(t, h, name+"@1", ""), stream(t, h, name+"@2", name+"@1")} {
		cmd := exec.Command("zfs", "receive", "-o", "mountpoint=legacy", other)
		cmd.Stdin = bytes.NewReader(raw)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	sameFiles(t, other, dir)
	raw, err := exec.Command("zfs", "send", "-Lec", name+"@2").Output()
	check(t, err)
	check(t, receive(h, third+"@z", Receiving{Properties: Properties{"mountpoint": String("legacy")}}, raw))
	sameFiles(t, third, dir)
	size, err := h.SendSize(name+"@2", name+"@1")
	check(t, err)
	fields := strings.Fields(cli(t, "zfs", "send", "-Lc", "-nP", "-i", "@1", name+"@2"))
	equal(t, "estimate", strconv.FormatUint(size, 10), fields[len(fields)-1])
}

// TestUnfitStreamsAreRefused: and the receiver stays unchanged.
func TestUnfitStreamsAreRefused(t *testing.T) {
	h := open(t)
	name, _ := sent(t, h)
	full, more := stream(t, h, name+"@1", ""), stream(t, h, name+"@2", name+"@1")
	other := unused(t)
	nowhere := Receiving{Properties: Properties{"mountpoint": String("legacy")}}
	damaged := bytes.Clone(full)
	damaged[len(damaged)/2]++
	for what, raw := range map[string][]byte{"a stream that ends too early": full[:len(full)/2], "a damaged stream": damaged, "nothing but the first record": full[:BeginSize]} {
		if err := receive(h, other+"@x", nowhere, raw); err == nil {
			t.Errorf("%s is received", what)
		} else {
			t.Log(err)
		}
		if there, err := h.Exists(other); there || err != nil {
			t.Errorf("%s leaves a dataset: %v", what, err)
		}
	}
	wantError(t, receive(h, other+"@x", nowhere, more), ErrNotExist) // there is no dataset for what has changed
	check(t, receive(h, other+"@x", nowhere, full))
	wantRefused(t, receive(h, other+"@x", nowhere, full))
	check(t, fill(mounted(t, other), "changed", 1<<20))
	wantError(t, receive(h, other+"@y", Receiving{}, more), ErrBusy)
	check(t, h.Snapshot([]string{other + "@mine"}, nil))
	check(t, receive(h, other+"@y", Receiving{Force: true}, more))
	if there, err := h.Exists(other + "@mine"); there || err != nil {
		t.Errorf("the newer snapshot is there: %v, %v", there, err)
	}
	wantRefused(t, receive(h, other+"@z", Receiving{}, more))
	wantError(t, h.Send(t.Context(), name+"@none", "", io.Discard), ErrNotExist)
	wantError(t, h.Send(t.Context(), name+"@1", name+"@2", io.Discard), ErrInvalid)
}

// brokenWriter fails after some bytes.
type brokenWriter struct{ left int }

var errBroken = errors.New("the other end is gone")

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

// TestStreamsCanBeCutShort by either end, and nothing stays of them.
func TestStreamsCanBeCutShort(t *testing.T) {
	h := open(t)
	name, _ := sent(t, h)
	if err := h.Send(t.Context(), name+"@2", "", &brokenWriter{1 << 20}); !errors.Is(err, errBroken) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := h.Send(ctx, name+"@2", "", writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	full := stream(t, h, name+"@2", "")
	b, err := ParseBegin(full)
	check(t, err)
	other := unused(t)
	broken := io.MultiReader(bytes.NewReader(full[BeginSize:len(full)/2]), readerFunc(func([]byte) (int, error) { return 0, errBroken }))
	if err := h.Receive(t.Context(), other+"@x", b, Receiving{}, broken); !errors.Is(err, errBroken) {
		t.Error(err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	stuck := io.MultiReader(bytes.NewReader(full[BeginSize:len(full)/2]), readerFunc(func([]byte) (int, error) { cancel(); return 0, io.EOF }))
	if err := h.Receive(ctx, other+"@x", b, Receiving{}, stuck); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if there, err := h.Exists(other); there || err != nil {
		t.Errorf("something stays: %v, %v", there, err)
	}
	left, err := filepath.Glob("/proc/self/fd/*")
	check(t, err)
	check(t, h.Send(t.Context(), name+"@1", "", io.Discard))
	now, err := filepath.Glob("/proc/self/fd/*")
	check(t, err)
	equal(t, "descriptors", len(now), len(left))
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
