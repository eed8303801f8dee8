package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
	harness "github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// StoreOptions are the limits of a race of engines with the containerd image store.
type StoreOptions struct {
	Pool    string // pool of all datasets
	Changer string // the program firstchange
	Rounds  int
	Log     io.Writer
}

// storeGroup is the group of rows of engines with the containerd image store.
const storeGroup = "image store"

// storeContender is a containerd with an engine on it.
type storeContender struct {
	name        string // in reports
	snapshotter string // as containerd names it
	pool        string
	dir         string // on a dataset of the pool
	containerd  *harness.Containerd
	engine      *harness.Engine
	api         *api
	pods        *pods
}

// RaceStores measures first changes of files where containerd mounts: on the snapshotter
// and on containerd's overlayfs, with both stores on one pool. Another contender begins in
// each round.
func RaceStores(ctx context.Context, o StoreOptions, report *result.Report) (err error) {
	s := &testingStub{log: o.Log}
	defer func() { err = errors.Join(err, s.close()) }()
	contenders, err := startStores(ctx, s, o)
	if err != nil {
		s.failed = true
		return err
	}
	r := &storeRace{StoreOptions: o, stub: s, report: report, broken: map[string]bool{}}
	var errs []error
	for n := range o.Rounds {
		for _, w := range storeWorkloads {
			for i := range contenders {
				errs = append(errs, r.runTurn(ctx, w, contenders[(i+n)%len(contenders)]))
			}
		}
	}
	err = errors.Join(errs...)
	s.failed = err != nil
	return err
}

type storeRace struct {
	StoreOptions
	stub   *testingStub
	report *result.Report
	broken map[string]bool // failed workloads, by workload and contender
}

// runTurn runs a workload on a contender, unless it failed there before.
func (r *storeRace) runTurn(ctx context.Context, w storeWorkload, c *storeContender) error {
	turn := w.row.ID + " " + c.name
	if r.broken[turn] {
		return nil
	}
	took, err := c.measure(ctx, r.stub, w)
	if err != nil {
		r.broken[turn] = true
		r.report.SetMissing(w.row, c.name, firstLine(err.Error()))
		return fmt.Errorf("%s: %w", turn, err)
	}
	r.report.AddSample(w.row, c.name, took)
	fmt.Fprintf(r.Log, "%-24s %-30s %9.3f ms\n", c.name, w.row.ID, took)
	return nil
}

func startStores(ctx context.Context, s *testingStub, o StoreOptions) (all []*storeContender, err error) {
	archive, err := writeManyArchive(s, o.Changer)
	if err != nil {
		return nil, err
	}
	for _, c := range []*storeContender{
		{name: result.Snapshotter, snapshotter: harness.SnapshotterName},
		{name: result.ContainerdOverlayfs, snapshotter: "overlayfs"},
	} {
		c.pool, c.dir = o.Pool, filepath.Join("/", o.Pool, "store-"+c.snapshotter)
		if err := s.try(func() { c.start(ctx, s, archive) }); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		all = append(all, c)
	}
	return all, nil
}

// start starts the contender's daemons and imports the image. containerd's root, with
// overlayfs's snapshots, lies on a dataset, and the snapshotter's layers on another.
func (c *storeContender) start(ctx context.Context, s *testingStub, archive string) {
	inguest.Run(s, "zfs", "create", "-o", "mountpoint="+c.dir, c.dir[1:])
	s.Cleanup(func() { c.destroy(ctx, s) })
	root, data := filepath.Join(c.dir, "containerd"), filepath.Join(c.dir, "docker")
	s.Cleanup(func() { inguest.UnmountAt(s, data) })
	if c.snapshotter == harness.SnapshotterName {
		inguest.Run(s, "zfs", "create", "-o", "mountpoint=legacy", c.dir[1:]+"/layers")
		c.containerd = harness.StartContainerd(s, harness.ContainerdOptions{Root: root, Dataset: c.dir[1:] + "/layers"})
		c.engine = c.containerd.StartEngine(s, data)
	} else {
		c.containerd = harness.StartPlainContainerd(s, root)
		c.engine = c.containerd.StartOverlayfsEngine(s, data)
	}
	c.api = newAPI(c.engine.Host())
	c.engine.Docker(s, "load", "-i", archive)
	for _, space := range []string{ctrSpace, podSpace} {
		c.containerd.Ctr(s, space, "images", "import", "--snapshotter", c.snapshotter, archive)
	}
	c.startPods(ctx, s)
}

// destroy destroys the contender's datasets. A mount can outlive its daemons by a moment.
func (c *storeContender) destroy(ctx context.Context, s *testingStub) {
	err := inguest.Poll(ctx, func() error {
		_, err := runCommand(ctx, "zfs", "destroy", "-r", c.dir[1:])
		return err
	})
	if err == nil {
		err = os.Remove(c.dir)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.Errorf("%s: %w", c.name, err)
	}
}

// storeImage is the image's full name, which containerd needs.
const storeImage = "docker.io/library/" + manyImage

// writeManyArchive writes the archive of the image with files to change.
func writeManyArchive(s *testingStub, program string) (file string, err error) {
	image, err := makeManyImage(storeImage, program)
	if err != nil {
		return "", err
	}
	err = s.try(func() {
		file = filepath.Join(s.TempDir(), "image.tar")
		if err := os.WriteFile(file, image, 0o600); err != nil {
			s.Fatal(err)
		}
	})
	return file, err
}
