package contenders

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/docker/docker/daemon/graphdriver"

	"github.com/overlayzfs/overlayzfs/integration/bench/layers"
	"github.com/overlayzfs/overlayzfs/integration/mobyproxy"
	"github.com/overlayzfs/overlayzfs/integration/pluginproc"
)

// Contender is a graphdriver with its store, or one of containerd's snapshotters. GNU
// tools have a store and neither of these.
type Contender struct {
	graphdriver.Driver
	Snapshots snapshots.Snapshotter

	Name    string
	Root    string // mount point of the store
	Dataset string // empty on tmpfs

	slug   string
	layers int                     // number of layers made, for names
	images map[layers.Shape]string // layers that are kept as images
	plugin *pluginproc.Process
	close  func() error
}

// NewID returns a new layer ID as dockerd makes them.
func (c *Contender) NewID() string {
	c.layers++
	sum := sha256.Sum256([]byte(c.slug + strconv.Itoa(c.layers)))
	return hex.EncodeToString(sum[:])
}

// NewBuildID returns a new layer ID as BuildKit makes them.
func (c *Contender) NewBuildID() string { return c.NewID()[:25] }

// HasImage reports whether a layer of that shape is kept as an image.
func (c *Contender) HasImage(s layers.Shape) bool { return c.images[s] != "" }

// KeepImage keeps a layer as the image of a shape.
func (c *Contender) KeepImage(s layers.Shape, id string) {
	if c.images == nil {
		c.images = map[layers.Shape]string{}
	}
	c.images[s] = id
}

// Image returns the image of a shape, and makes it when there is none.
func (c *Contender) Image(s layers.Shape) (string, error) {
	if c.HasImage(s) {
		return c.images[s], nil
	}
	id := c.NewID()
	if err := c.Create(id, "", nil); err != nil {
		return "", err
	}
	tar := s.Open()
	defer tar.Close()
	if _, err := c.ApplyDiff(id, "", tar); err != nil {
		return "", err
	}
	c.KeepImage(s, id)
	return id, nil
}

// Fill mounts a layer, calls fill with its directory and unmounts it.
func (c *Contender) Fill(id string, fill func(dir string) error) error {
	dir, err := c.Get(id, "")
	if err != nil {
		return err
	}
	return errors.Join(fill(dir), c.Put(id))
}

// Pid returns the ID of the plugin's process, if there is one.
func (c *Contender) Pid() (pid int, ok bool) {
	if c.plugin == nil {
		return 0, false
	}
	return c.plugin.Pid(), true
}

// ReadUsed returns the space that the dataset uses, as of the last transaction group.
func (c *Contender) ReadUsed() (int64, error) {
	out, err := exec.Command("zfs", "get", "-Hpo", "value", "used", c.Dataset).Output()
	if err != nil {
		return 0, fmt.Errorf("space used by %s: %w", c.Dataset, err)
	}
	return strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
}

// idleLimit bounds a contender's work in the background.
const idleLimit = 5 * time.Minute

// AwaitIdle waits until the contender does nothing in the background, which would slow
// the next contender down.
func (c *Contender) AwaitIdle() error {
	if err := c.cleanUpSnapshotter(); err != nil {
		return err
	}
	trash := filepath.Join(c.Root, mobyproxy.Name, ".overlayzfs", "trash")
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	limit := time.After(idleLimit)
	for {
		entries, err := os.ReadDir(trash)
		if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-limit:
			return fmt.Errorf("%s still removes %d layers after %v", c.Name, len(entries), idleLimit)
		case <-poll.C:
		}
	}
}

// Close ends the contender's process, if it has one.
func (c *Contender) Close() error {
	if c.close == nil {
		return nil
	}
	return c.close()
}
