//go:build vm

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// image writes Docker's records of an image with one base layer.
func (s testStore) image(layer, tag string) {
	s.Helper()
	diff := digest.FromString(layer)
	s.record(layer, diff, "")
	config := fmt.Sprintf(`{"os":"linux","rootfs":{"type":"layers","diff_ids":[%q]}}`, diff)
	sum := digest.FromString(config)
	dir := filepath.Join(s.root, "image/overlayzfs")
	for name, content := range map[string]string{
		"imagedb/content/sha256/" + sum.Encoded(): config,
		"repositories.json":                       fmt.Sprintf(`{"Repositories":{"x":{%q:%q}}}`, tag, sum),
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			s.Fatal(err)
		}
	}
}

// far is the receiving host: a data-root without Docker, and a dataset.
type far struct {
	*testing.T
	dataset, root string
}

func newFar(t *testing.T) far {
	f := far{t, "tank/far", filepath.Join(t.TempDir(), "docker")}
	t.Cleanup(func() {
		if there(f.dataset) {
			tool(t, "destroy", "-r", f.dataset)
		}
	})
	return f
}

func (f far) receive(code int, args ...string) string {
	f.Helper()
	return runCommand(f.T, code, "yes\n", append([]string{"receive", "--dataset", f.dataset, "--root", f.root}, args...)...)
}

// layers returns the layers in the store, and how many images Docker knows.
func (f far) layers() (layers []string, images int) {
	f.Helper()
	var l struct {
		Layers []struct {
			ID     string
			Images []string
		}
	}
	out := runCommand(f.T, 0, "", "ls", "--json", "--quick", "--dataset", f.dataset, "--root", f.root)
	if err := json.Unmarshal([]byte(out), &l); err != nil {
		f.Fatalf("%v\n%s", err, out)
	}
	for _, layer := range l.Layers {
		layers = append(layers, layer.ID[:1])
		images += len(layer.Images)
	}
	return layers, images
}

// TestSendAndReceive compares store and data-root before and after, without Docker.
func TestSendAndReceive(t *testing.T) {
	s, f := newTestStore(t), newFar(t)
	if err := os.RemoveAll(filepath.Join(s.root, "image")); err != nil { // layer 4, which is a container's
		t.Fatal(err)
	}
	s.image(id("1"), "one:1")
	dir := t.TempDir()
	full, more := filepath.Join(dir, "full"), filepath.Join(dir, "more")
	send := func(code int, args ...string) string {
		t.Helper()
		return runCommand(t, code, "", append([]string{"send", "--dataset", s.dataset, "--root", s.root}, args...)...)
	}
	send(exitFailed, "--from", "last", "--output", full)
	send(0, "--dry-run")
	open := s.open() // as the plugin does
	t.Log(send(0, "--output", full))
	send(exitFailed, "--output", full) // it exists
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}

	t.Log(f.receive(0, "--input", full, "--dry-run"))
	t.Log(f.receive(0, "--input", full))
	if layers, images := f.layers(); strings.Join(layers, "") != "1" || images != 1 {
		t.Errorf("layers %q, %d images", layers, images)
	}
	if got := shell(t, "zfs get -Ho value mountpoint,compression,xattr,dnodesize "+f.dataset); joinValues(got) != "legacy lz4 sa auto" {
		t.Errorf("properties %s", got)
	}
	if out := f.receive(exitRefused, "--input", full); !strings.Contains(out, "already") {
		t.Errorf("%s", out)
	}

	open = s.open()
	if err := errors.Join(open.Create(t.Context(), id("5"), "", overlayzfs.CreateOptions{ReadWrite: true}), open.Close()); err != nil {
		t.Fatal(err)
	}
	s.image(id("5"), "five:1")
	t.Log(send(0, "--from", "last", "--output", more, "--json"))
	tool(t, "snapshot", f.dataset+"@mine")
	if out := f.receive(exitRefused, "--input", more); !strings.Contains(out, "mine") {
		t.Errorf("%s", out)
	}
	f.receive(0, "--input", more, "--discard")
	if layers, images := f.layers(); len(layers) != 2 || images != 2 {
		t.Errorf("layers %q, %d images", layers, images)
	}
	if there(f.dataset + "@mine") {
		t.Error("the newer snapshot is there")
	}
	f.redoFinish()
}

// redoFinish deletes what receive writes after ZFS has the stream, and has --finish write
// it again.
func (f far) redoFinish() {
	f.Helper()
	if err := os.RemoveAll(filepath.Join(f.root, "image")); err != nil {
		f.Fatal(err)
	}
	f.receive(0, "--finish", "--dry-run")
	f.receive(0, "--finish", "--yes")
	if layers, images := f.layers(); len(layers) != 2 || images != 2 {
		f.Errorf("layers %q, %d images", layers, images)
	}
}

// TestFailedStreamLeavesNothing at either end.
func TestFailedStreamLeavesNothing(t *testing.T) {
	s, f := newTestStore(t), newFar(t)
	if err := os.RemoveAll(filepath.Join(s.root, "image")); err != nil {
		t.Fatal(err)
	}
	s.image(id("1"), "one:1")
	s.image(id("9"), "nine:1") // not in the store
	args := []string{"send", "--dataset", s.dataset, "--root", s.root, "--output"}
	stream := filepath.Join(t.TempDir(), "stream")
	if out := runCommand(t, exitFailed, "", append(args, stream)...); !strings.Contains(out, id("9")) {
		t.Errorf("%s", out)
	}
	if snaps := shell(t, "zfs list -Ht snapshot -o name "+s.dataset); snaps != "" {
		t.Errorf("snapshots %s", snaps)
	}
	if err := os.RemoveAll(filepath.Join(s.root, "image")); err != nil {
		t.Fatal(err)
	}
	s.image(id("1"), "one:1")
	runCommand(t, exitFailed, "", append(args, "/nowhere/stream")...)
	if snaps := shell(t, "zfs list -Ht snapshot -o name "+s.dataset); snaps != "" {
		t.Errorf("snapshots %s", snaps)
	}
	runCommand(t, 0, "", append(args, stream)...)
	raw, err := os.ReadFile(stream)
	if err != nil {
		t.Fatal(err)
	}
	for what, spoiled := range map[string][]byte{"cut": raw[:len(raw)*2/3], "damaged": append(raw[:len(raw)/2:len(raw)/2], append([]byte{raw[len(raw)/2] + 1}, raw[len(raw)/2+1:]...)...)} {
		if err := os.WriteFile(stream, spoiled, 0o600); err != nil {
			t.Fatal(err)
		}
		f.receive(exitFailed, "--input", stream)
		if _, err := os.Stat(f.root); there(f.dataset) || err == nil {
			t.Errorf("a %s stream leaves something", what)
		}
	}
}

// sentAndReceived returns a store with an image, and a host that has received it.
func sentAndReceived(t *testing.T) (s testStore, f far, send func(args ...string) (stream string)) {
	s, f = newTestStore(t), newFar(t)
	if err := os.RemoveAll(filepath.Join(s.root, "image")); err != nil {
		t.Fatal(err)
	}
	s.image(id("1"), "one:1")
	streams := 0
	send = func(args ...string) string {
		t.Helper()
		streams++
		stream := filepath.Join(t.TempDir(), fmt.Sprint(streams))
		runCommand(t, 0, "", append([]string{"send", "--dataset", s.dataset, "--root", s.root, "--output", stream}, args...)...)
		return stream
	}
	f.receive(0, "--input", send())
	return s, f, send
}

// TestLocalSendKeepsImagesLocal: images made since receive belong to this host alone,
// even if this host sends them.
func TestLocalSendKeepsImagesLocal(t *testing.T) {
	_, f, send := sentAndReceived(t)
	f.startStore().image(id("1"), "mine:1")
	runCommand(t, 0, "", "send", "--dataset", f.dataset, "--root", f.root, "--output", filepath.Join(t.TempDir(), "mine"))
	more := send("--from", "last")
	if out := f.receive(exitRefused, "--input", more); !strings.Contains(out, "mine:1") {
		t.Errorf("%s", out)
	}
	f.receive(0, "--input", more, "--discard")
}

// TestStoreInUseIsNotReplaced, even if its dockerd is not found.
func TestStoreInUseIsNotReplaced(t *testing.T) {
	_, f, send := sentAndReceived(t)
	more := send("--from", "last")
	open := f.startStore().open()
	f.receive(exitRefused, "--input", more)
	if err := open.Create(t.Context(), id("6"), "", overlayzfs.CreateOptions{ReadWrite: true}); err != nil {
		t.Fatal(err)
	}
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}
	elsewhere := []string{"receive", "--dataset", f.dataset, "--root", t.TempDir(), "--input", more, "--yes", "--discard"}
	if out := runCommand(t, exitRefused, "", elsewhere...); !strings.Contains(out, "--root") {
		t.Errorf("%s", out)
	}
	f.receive(0, "--input", more)
}

// TestHostileStreamIsRefused: nothing of a full stream stays, and an incremental one leaves
// the store as before it. The snapshot brings neither the sender's layers without an
// image nor its engine.
func TestHostileStreamIsRefused(t *testing.T) {
	s, f, send := sentAndReceived(t)
	before := f.dataset + "@" + sentNames(t, f.dataset)[0]
	layersBefore, imagesBefore := f.layers()
	asBefore := func() {
		t.Helper()
		if !there(before) || len(sentNames(t, f.dataset)) != 1 {
			t.Errorf("snapshots %q", sentNames(t, f.dataset))
		}
		if layers, images := f.layers(); !slices.Equal(layers, layersBefore) || images != imagesBefore {
			t.Errorf("layers %q, %d images; before %q, %d", layers, images, layersBefore, imagesBefore)
		}
		if engine := f.engine(); engine != (overlayzfs.Engine{}) {
			t.Errorf("the engine is %+v", engine)
		}
	}
	shell(t, "d=$(mktemp -d); mount -t zfs "+s.dataset+" $d; ln -s /etc/passwd $d/.overlayzfs/boot.new; umount $d; rmdir $d")
	f.receive(exitFailed, "--input", send("--from", "last"))
	asBefore()
	f.makeImage("5")
	if layers, images := f.layers(); len(layers) != len(layersBefore)+1 || images != imagesBefore+1 {
		t.Fatalf("layers %q, %d images", layers, images)
	}
	hostile := send("--from", before[strings.Index(before, "@"):])
	f.receive(exitRefused, "--input", hostile)
	f.receive(exitFailed, "--input", hostile, "--discard")
	asBefore()
	tool(t, "destroy", "-r", f.dataset)
	f.receive(exitFailed, "--input", send(), "--discard")
	if there(f.dataset) {
		t.Error("the dataset stays")
	}
}

// TestKilledSendIsNoBase, and the next send destroys its snapshot.
func TestKilledSendIsNoBase(t *testing.T) {
	s, _, send := sentAndReceived(t)
	snap := s.dataset + "@" + "overlayzfs-sent-" + "killed"
	tool(t, "snapshot", "-o", "overlayzfs:sent=sending", snap)
	if out := runCommand(t, exitFailed, "", "send", "--dataset", s.dataset, "--root", s.root, "--from", snap, "--output", filepath.Join(t.TempDir(), "x")); !strings.Contains(out, "never came to its end") {
		t.Errorf("%s", out)
	}
	tool(t, "snapshot", s.dataset+"@received-elsewhere")
	send("--from", "last")
	if names := sentNames(t, s.dataset); there(snap) || len(names) != 3 {
		t.Errorf("snapshots %q", names)
	}
}

// startStore returns the receiver's store, as if Docker had started with it.
func (f far) startStore() testStore {
	f.Helper()
	home, err := os.MkdirTemp("/run", "far-")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { os.Remove(home) })
	return testStore{f.T, f.dataset, f.root, home}
}

// makeImage makes an image on this host, on a layer that the sender does not have.
func (f far) makeImage(layer string) {
	f.Helper()
	k := f.startStore()
	open := k.open()
	err := open.Create(f.Context(), id(layer), "", overlayzfs.CreateOptions{ReadWrite: true})
	if err := errors.Join(err, open.Close()); err != nil {
		f.Fatal(err)
	}
	k.image(id(layer), "own:1")
}

// engine returns the store's record of the engine that used it last.
func (f far) engine() overlayzfs.Engine {
	f.Helper()
	view, err := overlayzfs.OpenDatasetReadOnly(f.dataset)
	if err != nil {
		f.Fatal(err)
	}
	defer view.Close()
	engine, err := view.Engine()
	if err != nil {
		f.Fatal(err)
	}
	return engine
}

// firstWrite runs a function when something is written for the first time.
type firstWrite struct{ do func() }

func (w *firstWrite) Write(p []byte) (int, error) {
	if w.do != nil {
		w.do()
		w.do = nil
	}
	return len(p), nil
}

// TestSendLocksNobodyOut: other commands run while a stream is written, and a hold keeps the
// snapshot that is sent.
func TestSendLocksNobodyOut(t *testing.T) {
	s := newTestStore(t)
	if err := os.RemoveAll(filepath.Join(s.root, "image")); err != nil {
		t.Fatal(err)
	}
	s.image(id("1"), "one:1")
	var out bytes.Buffer
	beside := testConsole(t, &out)
	sending := beside
	stream := &firstWrite{do: func() {
		sent := s.dataset + "@" + sentNames(t, s.dataset)[0]
		if holds := shell(t, "zfs holds -H "+sent); holds == "" {
			t.Errorf("nothing holds %s", sent)
		}
		if code := run(t.Context(), []string{"snapshot", "--dataset", s.dataset}, beside); code != 0 {
			t.Errorf("a snapshot beside a send exits with %d:\n%s", code, &out)
		}
	}}
	sending.out = stream
	if code := run(t.Context(), []string{"send", "--dataset", s.dataset, "--root", s.root}, sending); code != 0 {
		t.Fatalf("the send exits with %d:\n%s", code, &out)
	}
	if stream.do != nil {
		t.Error("nothing was sent")
	}
	if names := sentNames(t, s.dataset); len(names) != 2 {
		t.Errorf("the snapshots are %q", names)
	}
}

func sentNames(t *testing.T, dataset string) (names []string) {
	t.Helper()
	for _, line := range strings.Fields(shell(t, "zfs list -Ht snapshot -o name "+dataset)) {
		_, name, _ := strings.Cut(line, "@")
		names = append(names, name)
	}
	return names
}

// TestMarkedStoreDoesNotOpen: ZFS was interrupted, or has the stream and nothing more.
// --finish says which, and ends it.
func TestMarkedStoreDoesNotOpen(t *testing.T) {
	_, f, send := sentAndReceived(t)
	name := sentNames(t, f.dataset)[0]
	tool(t, "set", `overlayzfs:receiving={"from":"`+name+`","to":"never"}`, f.dataset)
	o := overlayzfs.Options{Dataset: f.dataset}
	if d, err := overlayzfs.Open(t.Context(), t.TempDir(), o); err == nil || !strings.Contains(err.Error(), "--finish") {
		t.Errorf("%v", err)
		if err == nil {
			d.Close()
		}
	}
	if out := f.receive(0, "--finish"); !strings.Contains(out, "is as before") {
		t.Errorf("%s", out)
	}
	f.receive(0, "--input", send("--from", "last"))
	tool(t, "set", `overlayzfs:receiving={"from":"`+name+`","to":"`+sentNames(t, f.dataset)[1]+`"}`, f.dataset)
	f.receive(0, "--finish")
	if got := joinValues(shell(t, "zfs get -Ho value overlayzfs:receiving "+f.dataset)); got != "-" {
		t.Errorf("the property is %s", got)
	}
}
