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

// TestLifecycleOnAFullDataset runs out of space in the middle of a load. A
// dataset's quota is answered by the kernel as a full pool is.
func TestLifecycleOnAFullDataset(t *testing.T) {
	s := newSite(t, "full", nil)
	run(t, "zfs", "set", "compression=off", s.dataset)
	must(t, importBulk(t, s.Engine, "big", 24, nil))
	archive := filepath.Join(t.TempDir(), "big.tar")
	id := imageID(t, s.Engine, "big")
	s.Docker(t, "save", "-o", archive, "big")
	s.Docker(t, "rmi", "big")
	s.atRest(t)

	// Another size than big: an equal layer would be one and the same.
	must(t, importBulk(t, s.Engine, "old", 26, nil))
	startContainer(t, s.Engine, "filler")
	run(t, "zpool", "sync", "tank")
	s.layersWith(t) // the image and the container may stay
	quota := s.used(t) + 12<<20
	run(t, "zfs", "set", "quota="+strconv.FormatInt(quota, 10), s.dataset)

	out, err := s.Try("load", "-i", archive)
	if err == nil {
		t.Fatalf("a layer of 24 MB went into 12 MB: %s", out)
	}
	if !strings.Contains(out, "quota") || !strings.Contains(out, s.dataset) {
		t.Errorf("docker load does not say that the dataset is full: %s", out)
	}
	noImage(t, s, "big")
	s.unchangedLayers(t)

	// Now to the brim, and then a way out.
	if out, err := s.Try("exec", "filler", "dd", "if=/dev/zero", "of=/filling", "bs=64k"); err == nil {
		t.Fatalf("the dataset takes more than its quota: %s", out)
	}
	before := s.used(t)
	s.Docker(t, "rmi", "old")
	waitFor(t, func() error {
		run(t, "zpool", "sync", "tank")
		if now := s.used(t); now > before-23<<20 {
			return fmt.Errorf("%d bytes were used, and %d after an image of 26 MB was removed", before, now)
		}
		return nil
	})
	s.Docker(t, "rm", "-f", "filler")
	waitFor(t, func() error {
		run(t, "zpool", "sync", "tank")
		if now := s.used(t); now > quota-34<<20 {
			return fmt.Errorf("still %d of %d bytes are used", now, quota)
		}
		return nil
	})
	s.Docker(t, "load", "-i", archive)
	if now := imageID(t, s.Engine, "big"); now != id {
		t.Errorf("the image was %s and comes back as %s", id, now)
	}
	verifyImage(t, s.Engine, "big")
	s.Docker(t, "rmi", "big")
	s.layers = s.layers[:0]
	s.Docker(t, "rmi", "tiny")
	s.atRest(t)
	s.Stop(t)
	s.tornDown(t)
}

// layersWith takes the layers of now for what unchangedLayers compares with.
func (s *site) layersWith(t *testing.T) {
	t.Helper()
	layers, err := layersIn(s.home(t))
	must(t, err)
	s.layers = layers
}

func (s *site) unchangedLayers(t *testing.T) {
	t.Helper()
	home := s.home(t)
	err := poll(func() error {
		layers, err := layersIn(home)
		return errors.Join(err, differ(layers, s.layers), unfinished(home))
	})
	if err != nil {
		t.Errorf("half a layer is left: %v", err)
	}
}

// used is how much the dataset holds.
func (s *site) used(t *testing.T) int64 {
	t.Helper()
	n, err := strconv.ParseInt(run(t, "zfs", "get", "-Hp", "-o", "value", "used", s.dataset), 10, 64)
	must(t, err)
	return n
}
