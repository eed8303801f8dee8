//go:build vm

package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/snapshot"
	"github.com/overlayzfs/overlayzfs/zfs"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tool(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("zfs", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("zfs %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// destroy destroys a dataset that may be there, or half of one.
func destroy(t *testing.T, dataset string) {
	t.Helper()
	if exec.Command("zfs", "list", dataset).Run() == nil {
		tool(t, "destroy", "-R", dataset)
	}
}

// aHost is the datasets of one host, as `overlayzfs setup` makes them.
type aHost struct {
	*testing.T
	Source
	root string // the data-root
}

const limitedKey = "ABCDEFGHIJKLMNOPQRSTUVWX01"

func newHost(t *testing.T, name string, options ...string) aHost {
	t.Helper()
	z, err := zfs.Open()
	check(t, err)
	t.Cleanup(func() { z.Close() })
	h := aHost{t, Source{z, "tank/" + name + "/layers", "tank/" + name}, filepath.Join(t.TempDir(), "docker")}
	tool(t, append(append([]string{"create", "-o", "mountpoint=" + h.root}, options...), h.Records)...)
	t.Cleanup(func() { tool(t, "destroy", "-R", h.Records) })
	tool(t, "create", "-o", "mountpoint=legacy", "-o", "compression=zstd", h.Layers)
	tool(t, "create", h.Records+"/volumes")
	h.limit(limitedKey)
	h.write("first")
	return h
}

// limit makes a limited container's dataset.
func (h aHost) limit(key string) {
	h.Helper()
	tool(h.T, "create", "-o", "mountpoint=legacy", "-o", "overlayzfs:layer=x", "-o", "refquota=24M", "-o", "recordsize=16K", h.Layers+"/"+key)
}

// write writes a text to the records, a volume, the layers and the limited container.
func (h aHost) write(text string) {
	h.Helper()
	for _, dir := range []string{".", "volumes"} {
		check(h.T, os.WriteFile(filepath.Join(h.root, dir, "text"), []byte(text), 0o600))
	}
	for _, dataset := range []string{h.Layers, h.Layers + "/" + limitedKey} {
		h.open(dataset, func(dir string) {
			check(h.T, os.WriteFile(filepath.Join(dir, "text"), bytes.Repeat([]byte(text), 100000), 0o600))
		})
	}
}

func (h aHost) open(dataset string, fn func(dir string)) {
	h.Helper()
	dir := h.TempDir()
	check(h.T, zfs.MountDataset(dataset, dir))
	defer exec.Command("umount", dir).Run()
	fn(dir)
}

// wantRestored compares the texts of a backup that is mounted.
func wantRestored(t *testing.T, z *zfs.Handle, records, root, text string) {
	t.Helper()
	for _, dir := range []string{".", "volumes"} {
		if raw, err := os.ReadFile(filepath.Join(root, dir, "text")); err != nil || string(raw) != text {
			t.Errorf("%s: %.20q, %v", dir, raw, err)
		}
	}
	h := aHost{t, Source{z, records + "/layers", records}, root}
	for _, dataset := range []string{h.Layers, h.Layers + "/" + limitedKey} {
		h.open(dataset, func(dir string) {
			if raw, err := os.ReadFile(filepath.Join(dir, "text")); err != nil || !strings.HasPrefix(string(raw), text) || len(raw) != 100000*len(text) {
				t.Errorf("%s: %.20q, %v", dataset, raw, err)
			}
		})
	}
	for property, want := range map[string]string{"refquota": "25165824", "recordsize": "16384", "overlayzfs:layer": "x", "mountpoint": "legacy"} {
		if got := tool(t, "get", "-Hpo", "value", property, h.Layers+"/"+limitedKey); got != want {
			t.Errorf("%s of the limited container is %s", property, got)
		}
	}
	if got := tool(t, "get", "-Ho", "value", "compression", h.Layers); got != "zstd" {
		t.Errorf("compression of the layers is %s", got)
	}
}

// transfer sends a snapshot to a target, and cuts the stream after so many bytes unless that is
// 0. It returns the length of the stream.
func (s Source) transfer(t *testing.T, name string, target Target, cut int) (int, error) {
	t.Helper()
	state, err := ReadState(target.ZFS, target.Dataset)
	check(t, err)
	h, err := s.Plan(name, state)
	check(t, err)
	check(t, s.Hold(h))
	defer s.release(t, h)
	var out bytes.Buffer
	check(t, s.Send(t.Context(), h, state, &out, func(int64) {}))
	length := out.Len()
	if cut > 0 {
		out.Truncate(min(cut, length-1))
	}
	h, err = ReadHeader(&out)
	if err != nil {
		return length, err
	}
	why, err := target.Examine(h)
	if err != nil || len(why) > 0 {
		t.Fatalf("refused: %q, %v", why, err)
	}
	return length, target.Receive(t.Context(), h, &out, func(int64) {})
}

// release ends the holds of a plan.
func (s Source) release(t *testing.T, h Header) {
	t.Helper()
	for _, e := range h.Datasets {
		for _, name := range []string{h.Name, e.From} {
			if !e.Have && name != "" {
				check(t, s.ZFS.Release(s.sourceOf(e, h.Name)+"@"+name, fmt.Sprintf("overlayzfs-backup-%d", os.Getpid())))
			}
		}
	}
}

func (s Source) take(t *testing.T) string {
	t.Helper()
	name, err := s.TakeSnapshot(t.Context())
	check(t, err)
	return name
}

// layouts are encrypted and plain hosts.
func layouts(t *testing.T, fn func(t *testing.T, h aHost, load func(dataset string))) {
	t.Run("plain", func(t *testing.T) { fn(t, newHost(t, "one"), func(string) {}) })
	t.Run("encrypted", func(t *testing.T) {
		key := filepath.Join(t.TempDir(), "key")
		check(t, os.WriteFile(key, []byte("a secret of overlayzfs"), 0o600))
		h := newHost(t, "one", "-o", "encryption=on", "-o", "keyformat=passphrase", "-o", "keylocation=file://"+key)
		fn(t, h, func(dataset string) { tool(t, "load-key", "-L", "file://"+key, dataset) })
	})
}

// TestBackupOverTwoHosts sends a host's datasets to a second, and then what has changed; there a
// third gets them, mounts them, and knows their snapshots.
func TestBackupOverTwoHosts(t *testing.T) {
	layouts(t, func(t *testing.T, h aHost, load func(string)) {
		second, third := Target{h.ZFS, "tank/two"}, Target{h.ZFS, "tank/three"}
		t.Cleanup(func() { destroy(t, second.Dataset) })
		t.Cleanup(func() { destroy(t, third.Dataset) })
		first := h.take(t)
		_, err := h.transfer(t, first, second, 0)
		check(t, err)

		// A removed limited container, which the first snapshot keeps, and a new one.
		gone, made := "ABCDEFGHIJKLMNOPQRSTUVWX02", "ABCDEFGHIJKLMNOPQRSTUVWX03"
		h.limit(gone)
		tool(t, "snapshot", h.Layers+"/"+gone+"@other")
		tool(t, "create", "-o", "mountpoint=legacy", "-o", "overlayzfs:removed-parent=on", h.Layers+"/removed")
		tool(t, "rename", h.Layers+"/"+gone, h.Layers+"/removed/"+gone)
		h.limit(made)
		h.write("second")
		last := h.take(t)
		if there, err := h.ZFS.Exists(h.Records + "/volumes@" + last); err != nil || !there {
			t.Errorf("the snapshot does not have the volumes: %v", err)
		}
		changes, err := h.transfer(t, last, second, 0)
		check(t, err)
		all, err := h.Plan(last, State{})
		check(t, err)
		if len(all.Datasets) != 5 {
			t.Errorf("datasets of the backup: %+v", all.Datasets)
		}
		t.Logf("changes of %d bytes, everything about %d", changes, all.Bytes())
		wantUnmounted(t, second)

		backup := Source{h.ZFS, "tank/two/layers", "tank/two"}
		_, err = backup.transfer(t, last, third, 0)
		check(t, err)
		wantUnmounted(t, third)
		root := filepath.Join(t.TempDir(), "restored")
		if all.Datasets[0].Raw {
			plan, err := third.PlanMount(root)
			if err != nil || len(plan.Refused) != 5 || !strings.Contains(plan.Refused[0], "zfs load-key "+third.Dataset) {
				t.Errorf("without the key: %+v, %v", plan, err)
			}
		}
		load(third.Dataset)
		plan, err := third.PlanMount(root)
		check(t, err)
		check(t, third.Mount(plan))
		wantRestored(t, h.ZFS, third.Dataset, root, "second")
		if got := tool(t, "get", "-Ho", "value", "mountpoint", third.Dataset+"/volumes"); got != root+"/volumes" {
			t.Errorf("volumes are mounted on %s", got)
		}
		infos, err := snapshot.List(h.ZFS, third.Dataset+"/layers")
		if err != nil || len(infos) != 1 || infos[0].Name != last || infos[0].Event != snapshot.Manual {
			t.Errorf("snapshots of the third: %+v, %v", infos, err)
		}
		if plan, err = third.PlanMount(root); err != nil || len(plan.Steps) > 0 {
			t.Errorf("a second time: %+v, %v", plan, err)
		}
		back, err := snapshot.PlanRollback(h.ZFS, third.Dataset+"/layers", last, snapshot.Options{Records: third.Dataset, StateDir: t.TempDir()})
		check(t, err)
		check(t, back.Do(t.Context()))
		wantRestored(t, h.ZFS, third.Dataset, root, "second")
	})
}

// wantUnmounted requires that no boot mounts anything of a backup.
func wantUnmounted(t *testing.T, target Target) {
	t.Helper()
	for line := range strings.Lines(tool(t, "list", "-Ho", "name,canmount,mountpoint,mounted", "-r", target.Dataset)) {
		if f := strings.Fields(line); f[1] != "noauto" || f[2] != "none" || f[3] != "no" {
			t.Errorf("%v", f)
		}
	}
	if out, err := exec.Command("zfs", "mount", "-a").CombinedOutput(); err != nil {
		t.Errorf("zfs mount -a: %v\n%s", err, out)
	}
}

// TestCutBackupsGoOn cuts a full backup and one of changes at several places each. Each next
// stream has only the rest.
func TestCutBackupsGoOn(t *testing.T) {
	layouts(t, func(t *testing.T, h aHost, load func(string)) {
		target := Target{h.ZFS, "tank/two"}
		t.Cleanup(func() { destroy(t, target.Dataset) })
		for _, text := range []string{"first", "second"} {
			h.write(text)
			name := h.take(t)
			whole := 0
			for cut := range 2 {
				length, err := h.transfer(t, name, target, 1)
				if err == nil || !errors.Is(err, fault.Invalid) {
					t.Errorf("a stream of one byte: %v", err)
				}
				if length > whole+1000 && cut > 0 {
					t.Errorf("the rest has %d bytes, before it was %d", length, whole)
				}
				whole = length
				if _, err := h.transfer(t, name, target, length*2/3); err == nil {
					t.Error("a cut stream is received")
				}
				state, err := ReadState(h.ZFS, target.Dataset)
				check(t, err)
				if got, err := h.FindInterrupted(state); err != nil || got != "" && got != name {
					t.Errorf("interrupted is %q, %v", got, err)
				}
			}
			_, err := h.transfer(t, name, target, 0)
			check(t, err)
		}
		load(target.Dataset)
		root := filepath.Join(t.TempDir(), "restored")
		for n := range 3 { // killed after some steps, mounting goes on below the same directory
			plan, err := target.PlanMount(root)
			check(t, err)
			for _, step := range plan.Steps {
				if strings.HasPrefix(step.Mountpoint, h.root) {
					t.Fatalf("after %d steps %s would be mounted on %s", n, step.Dataset, step.Mountpoint)
				}
			}
			check(t, target.mount(plan.Steps[n]))
		}
		plan, err := target.PlanMount(root)
		check(t, err)
		check(t, target.Mount(plan))
		wantRestored(t, h.ZFS, target.Dataset, root, "second")
	})
}

// TestAnotherBackupAfterACutOne: what was received of the first is given up.
func TestAnotherBackupAfterACutOne(t *testing.T) {
	h := newHost(t, "one")
	target := Target{h.ZFS, "tank/two"}
	t.Cleanup(func() { destroy(t, target.Dataset) })
	for _, text := range []string{"first", "second"} {
		h.write(text)
		name := h.take(t)
		length, _ := h.transfer(t, name, target, 1)
		if _, err := h.transfer(t, name, target, length/2); err == nil {
			t.Error("a cut stream is received")
		}
		h.write(text + "!")
		name = h.take(t)
		_, err := h.transfer(t, name, target, 0)
		check(t, err)
	}
	root := filepath.Join(t.TempDir(), "restored")
	plan, err := target.PlanMount(root)
	check(t, err)
	check(t, target.Mount(plan))
	wantRestored(t, h.ZFS, target.Dataset, root, "second!")
}

// TestAContainerIsRemovedDuringABackup: its dataset moves, because of its snapshots, and is in
// the backup.
func TestAContainerIsRemovedDuringABackup(t *testing.T) {
	for _, held := range []bool{false, true} {
		t.Run(fmt.Sprintf("held=%v", held), func(t *testing.T) {
			h := newHost(t, "one")
			target := Target{h.ZFS, "tank/two"}
			t.Cleanup(func() { destroy(t, target.Dataset) })
			remove := func() {
				tool(t, "create", "-o", "mountpoint=legacy", h.Layers+"/"+quota.RemovedParent)
				tool(t, "rename", h.Layers+"/"+limitedKey, h.Layers+"/"+quota.RemovedParent+"/"+limitedKey)
			}
			state, err := ReadState(target.ZFS, target.Dataset)
			check(t, err)
			plan, err := h.Plan(h.take(t), state)
			check(t, err)
			if !held {
				remove()
			}
			check(t, h.Hold(plan))
			defer h.release(t, plan)
			if held {
				remove()
			}
			var out bytes.Buffer
			check(t, h.Send(t.Context(), plan, state, &out, func(int64) {}))
			received, err := ReadHeader(&out)
			check(t, err)
			check(t, target.Receive(t.Context(), received, &out, func(int64) {}))
			root := filepath.Join(t.TempDir(), "restored")
			mounts, err := target.PlanMount(root)
			check(t, err)
			check(t, target.Mount(mounts))
			wantRestored(t, h.ZFS, target.Dataset, root, "first")
		})
	}
}

// TestNothingIsMountedOver: another data-root, a mount, or a dataset of the next boot.
func TestNothingIsMountedOver(t *testing.T) {
	h := newHost(t, "one")
	target := Target{h.ZFS, "tank/two"}
	t.Cleanup(func() { destroy(t, target.Dataset) })
	_, err := h.transfer(t, h.take(t), target, 0)
	check(t, err)
	refused := func(root string, words ...string) {
		t.Helper()
		plan, err := target.PlanMount(root)
		check(t, err)
		if err := target.Mount(plan); !errors.Is(err, ErrRefused) {
			t.Errorf("mounted: %v", err)
		}
		for _, word := range words {
			if !strings.Contains(strings.Join(plan.Refused, "\n"), word) {
				t.Errorf("%q is not in %q", word, plan.Refused)
			}
		}
		wantUnmounted(t, target)
	}
	refused("", h.Records+" is mounted on "+h.root, "dataset "+h.Records+" has mountpoint="+h.root)
	full := t.TempDir()
	check(t, os.WriteFile(filepath.Join(full, "file"), nil, 0o600))
	refused(full, full+" is not empty")

	// A backup is not received over one that is mounted, or over something else.
	root := filepath.Join(t.TempDir(), "restored")
	plan, err := target.PlanMount(root)
	check(t, err)
	check(t, target.Mount(plan))
	h.write("later")
	name := h.take(t)
	state, err := ReadState(h.ZFS, target.Dataset)
	check(t, err)
	header, err := h.Plan(name, state)
	check(t, err)
	if why, err := target.Examine(header); err != nil || !strings.Contains(strings.Join(why, "\n"), target.Dataset+" is mounted") {
		t.Errorf("over a mounted one: %q, %v", why, err)
	}
	header, err = h.Plan(name, State{})
	check(t, err)
	for dataset, want := range map[string]string{target.Dataset: "exists", "tank/none/two": "tank/none does not exist"} {
		if why, err := (Target{h.ZFS, dataset}).Examine(header); err != nil || !strings.Contains(strings.Join(why, "\n"), want) {
			t.Errorf("into %s: %q, %v", dataset, why, err)
		}
	}
	if _, err := h.Plan(name, State{Datasets: map[string]Received{"": {Snapshots: []uint64{1}}}}); !errors.Is(err, fault.Invalid) {
		t.Errorf("for a receiver with something else: %v", err)
	}
	if _, err := ParseState(io.LimitReader(strings.NewReader("{"), 1)); !errors.Is(err, fault.Invalid) {
		t.Errorf("half a state: %v", err)
	}
}
