//go:build vm

package zfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// errCut is the error of a reader that ends in the middle of a stream.
var errCut = errors.New("cut")

type cutReader struct {
	io.Reader
	left int
}

func (c *cutReader) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, errCut
	}
	n, err := c.Reader.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// TestACutReceiveGoesOn receives half of a full stream and half of an incremental one, and the
// rest from a stream that begins at the token.
func TestACutReceiveGoesOn(t *testing.T) {
	h := open(t)
	name, dir := sent(t, h)
	to := unused(t)
	for _, o := range []Sending{{}, {From: name + "@1"}} {
		n := "1"
		if o.From != "" {
			n = "2"
		}
		var out bytes.Buffer
		check(t, h.SendWith(t.Context(), name+"@"+n, o, &out))
		b, err := ParseBegin(out.Bytes())
		check(t, err)
		cut := &cutReader{bytes.NewReader(out.Bytes()[BeginSize:]), out.Len() / 2}
		if err := h.Receive(t.Context(), to+"@"+n, b, Receiving{Resumable: true}, cut); !errors.Is(err, errCut) {
			t.Errorf("of half a stream: %v", err)
		}
		stats, err := h.DatasetStats(to)
		check(t, err)
		token, err := ParseResumeToken(stats.ResumeToken())
		check(t, err)
		if token.ToGUID != b.ToGUID || token.FromGUID != b.FromGUID || token.Object == 0 {
			t.Errorf("token %+v of %+v", token, b)
		}
		o.Resume = &token
		out.Reset()
		check(t, h.SendWith(t.Context(), name+"@"+n, o, &out))
		b, err = ParseBegin(out.Bytes())
		check(t, err)
		check(t, h.Receive(t.Context(), to+"@"+n, b, Receiving{Resumable: true}, bytes.NewReader(out.Bytes()[BeginSize:])))
	}
	stats, err := h.DatasetStats(to)
	if err != nil || stats.ResumeToken() != "" {
		t.Errorf("the token stays: %q, %v", stats.ResumeToken(), err)
	}
	sameFiles(t, to, dir)
	for _, bad := range []string{"", "1-2-3", "1-0-ffffffff-00", "1-0-10-zz", "1-0-10-00", "2-0-10-00"} {
		if _, err := ParseResumeToken(bad); err == nil {
			t.Errorf("token %q is read", bad)
		}
	}
}

// TestARawStreamNeedsNoKey, keeps the data encrypted, and its datasets can share a key again.
func TestARawStreamNeedsNoKey(t *testing.T) {
	h := open(t)
	key := filepath.Join(t.TempDir(), "key")
	check(t, os.WriteFile(key, []byte("a secret of overlayzfs"), 0o600))
	name := fresh(t, "-o", "encryption=on", "-o", "keyformat=passphrase", "-o", "keylocation=file://"+key)
	check(t, h.CreateFilesystem(name+"/child", Properties{"mountpoint": String("legacy")}))
	dir := mounted(t, name+"/child")
	check(t, fill(dir, "1", 1<<20))
	check(t, h.Snapshot([]string{name + "@1", name + "/child@1"}, map[string]string{"overlayzfs:x": "y"}))
	cli(t, "umount", dir)
	cli(t, "zfs", "unload-key", name)
	to := unused(t)
	for _, below := range []string{"", "/child"} {
		var out bytes.Buffer
		check(t, h.SendWith(context.Background(), name+below+"@1", Sending{Raw: true}, &out))
		b, err := ParseBegin(out.Bytes())
		check(t, err)
		equal(t, "raw", b.IsRaw(), true)
		check(t, h.Receive(t.Context(), to+below+"@1", b, Receiving{
			Properties: Properties{"mountpoint": String("none")}, Received: Properties{"overlayzfs:a": String("b")},
		}, bytes.NewReader(out.Bytes()[BeginSize:])))
	}
	equal(t, "received property", get(t, to, "overlayzfs:a"), "b")
	check(t, h.SetReceived(to+"@1", Properties{"overlayzfs:x": String("y")}))
	snap, err := h.DatasetStats(to + "@1")
	check(t, err)
	if snap.IsLocal("overlayzfs:x") || !snap.IsLocalOrReceived("overlayzfs:x") {
		t.Errorf("%+v", snap.Properties["overlayzfs:x"])
	}
	equal(t, "encryptionroot", get(t, to+"/child", "encryptionroot"), to+"/child")
	check(t, h.InheritKey(to+"/child"))
	equal(t, "encryptionroot", get(t, to+"/child", "encryptionroot"), to)
	stats, err := h.DatasetStats(to + "/child")
	if err != nil || !stats.IsEncrypted() || !stats.IsLocked() {
		t.Errorf("encrypted %v, locked %v, %v", stats.IsEncrypted(), stats.IsLocked(), err)
	}
	cli(t, "zfs", "load-key", "-L", "file://"+key, to)
	stats, err = h.DatasetStats(to + "/child")
	if err != nil || stats.IsLocked() {
		t.Errorf("locked %v, %v", stats.IsLocked(), err)
	}
	cli(t, "zfs", "set", "mountpoint=legacy", to+"/child")
	if raw, err := os.ReadFile(filepath.Join(mounted(t, to+"/child"), "1")); err != nil || len(raw) != 1<<20 {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
}

// TestAHoldEndsWithTheHandle, or when it is released.
func TestAHoldEndsWithTheHandle(t *testing.T) {
	h := open(t)
	name := fresh(t)
	check(t, h.Snapshot([]string{name + "@1"}, nil))
	other, err := Open()
	check(t, err)
	check(t, other.HoldUntilClosed(name+"@1", "one"))
	check(t, other.HoldUntilClosed(name+"@1", "two"))
	wantError(t, other.HoldUntilClosed(name+"@1", "one"), ErrExist)
	check(t, other.Release(name+"@1", "two"))
	holds, err := h.Holds(name + "@1")
	if err != nil || len(holds) != 1 {
		t.Errorf("%v, %v", holds, err)
	}
	wantError(t, h.DestroySnapshots([]string{name + "@1"}, false), ErrBusy)
	check(t, other.Close())
	check(t, h.DestroySnapshots([]string{name + "@1"}, false))
	wantError(t, h.HoldUntilClosed(name+"@none", "x"), ErrNotExist)
}
