//go:build vm

package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestLifecycleOnAFullDataset runs out of space during a load. The kernel answers a
// dataset's quota as it answers a full pool. It is long because each step needs the engine in
// the state that the previous one left.
func TestLifecycleOnAFullDataset(t *testing.T) {
	s := newTestEngine(t, "full", nil)
	run(t, "zfs", "set", "compression=off", s.dataset)
	must(t, importBulk(t, s.Engine, "big", 24, nil))
	archive := filepath.Join(t.TempDir(), "big.tar")
	id := readImageID(t, s.Engine, "big")
	s.Docker(t, "save", "-o", archive, "big")
	s.Docker(t, "rmi", "big")
	s.requireBaseline(t)

	// The size differs from big's: Docker would store an equal layer once.
	must(t, importBulk(t, s.Engine, "old", 26, nil))
	startContainer(t, s.Engine, "filler")
	run(t, "zpool", "sync", "tank")
	s.recordLayers(t) // the image and the container stay
	quota := s.readUsed(t) + 12<<20
	run(t, "zfs", "set", "quota="+strconv.FormatInt(quota, 10), s.dataset)

	out, err := s.Try("load", "-i", archive)
	if err == nil {
		t.Fatalf("a layer of 24 MB went into 12 MB: %s", out)
	}
	if !strings.Contains(out, "quota") || !strings.Contains(out, s.dataset) {
		t.Errorf("docker load does not say that the dataset is full: %s", out)
	}
	requireNoImage(t, s, "big")
	s.requireLayersUnchanged(t)

	// Fill the dataset completely, then make room.
	if out, err := s.Exec("filler", "dd", "if=/dev/zero", "of=/filling", "bs=64k"); err == nil {
		t.Fatalf("the dataset takes more than its quota: %s", out)
	}
	before := s.readUsed(t)
	s.Docker(t, "rmi", "old")
	waitFor(t, func() error {
		run(t, "zpool", "sync", "tank")
		if now := s.readUsed(t); now > before-23<<20 {
			return fmt.Errorf("%d bytes were used, and %d after an image of 26 MB was removed", before, now)
		}
		return nil
	})
	s.RemoveContainers(t, "filler")
	waitFor(t, func() error {
		run(t, "zpool", "sync", "tank")
		if now := s.readUsed(t); now > quota-34<<20 {
			return fmt.Errorf("still %d of %d bytes are used", now, quota)
		}
		return nil
	})
	s.Docker(t, "load", "-i", archive)
	if now := readImageID(t, s.Engine, "big"); now != id {
		t.Errorf("the image was %s and comes back as %s", id, now)
	}
	verifyImage(t, s.Engine, "big")
	s.Docker(t, "rmi", "big")
	s.layers = s.layers[:0]
	s.Docker(t, "rmi", "tiny")
	s.requireBaseline(t)
	s.Stop(t)
	s.requireStopped(t)
}

// recordLayers records the current layers, which requireLayersUnchanged compares with.
func (s *testEngine) recordLayers(t *testing.T) {
	t.Helper()
	layers, err := listLayers(s.storeDir(t))
	must(t, err)
	s.layers = layers
}

func (s *testEngine) requireLayersUnchanged(t *testing.T) {
	t.Helper()
	home := s.storeDir(t)
	err := poll(func() error {
		layers, err := listLayers(home)
		return errors.Join(err, compareLists(layers, s.layers), checkNothingUnfinished(home))
	})
	if err != nil {
		t.Errorf("half a layer is left: %v", err)
	}
}

// readUsed returns the space that the dataset uses.
func (s *testEngine) readUsed(t *testing.T) int64 {
	t.Helper()
	n, err := strconv.ParseInt(run(t, "zfs", "get", "-Hp", "-o", "value", "used", s.dataset), 10, 64)
	must(t, err)
	return n
}
