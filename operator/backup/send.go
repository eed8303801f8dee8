package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/transfer"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/snapshot"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Source is what a backup is made of.
type Source struct {
	ZFS     *zfs.Handle
	Layers  string
	Records string
}

// TakeSnapshot takes the snapshot of a backup, over all datasets in one step, and returns its
// name.
func (s Source) TakeSnapshot(ctx context.Context) (string, error) {
	return snapshot.TakeManually(ctx, s.ZFS, s.Layers, s.Records, s.listMore)
}

// listMore lists the datasets below the records dataset that a snapshot for a rollback leaves
// out, such as one of volumes.
func (s Source) listMore() ([]string, error) {
	all, err := listBelow(s.ZFS, s.Records, "")
	var more []string
	for _, d := range all {
		if d.Name != s.Layers && !strings.HasPrefix(d.Name, s.Layers+"/") {
			more = append(more, d.Name)
		}
	}
	return more, err
}

// listBelow returns the file systems below a dataset at any depth, parents first.
func listBelow(z *zfs.Handle, dataset, without string) (all []zfs.Dataset, err error) {
	for child, err := range z.Children(dataset) {
		if err != nil {
			return nil, err
		}
		if child.Type != zfs.Filesystem || child.Name == without {
			continue
		}
		below, err := listBelow(z, child.Name, without)
		if err != nil {
			return nil, err
		}
		all = append(append(all, child), below...)
	}
	return all, nil
}

// FindInterrupted returns the name of the snapshot whose stream was cut, or "" when none was.
func (s Source) FindInterrupted(state State) (string, error) {
	guid, path, err := state.interrupted()
	if guid == 0 || err != nil {
		return "", err
	}
	for snap, err := range s.ZFS.SnapshotNames(s.datasetOf(path)) {
		if err != nil {
			return "", err
		}
		if snap.GUID == guid {
			_, name, _ := strings.Cut(snap.Name, "@")
			return name, nil
		}
	}
	return "", fault.New(fault.NotFound, "the stream of dataset %s was cut, and its snapshot is gone here: give up what was received with `zfs receive -A` there", s.datasetOf(path))
}

// datasetOf returns the dataset of a path.
func (s Source) datasetOf(path string) string {
	switch {
	case path == "":
		return s.Records
	case !s.isBelow() && (path == layersPath || strings.HasPrefix(path, layersPath+"/")):
		return s.Layers + strings.TrimPrefix(path, layersPath)
	}
	return s.Records + "/" + path
}

// pathOf returns the path of a dataset.
func (s Source) pathOf(dataset string) string {
	if !s.isBelow() {
		if below, ok := strings.CutPrefix(dataset+"/", s.Layers+"/"); ok {
			return strings.TrimSuffix(layersPath+"/"+below, "/")
		}
	}
	return strings.TrimPrefix(strings.TrimPrefix(dataset, s.Records), "/")
}

// isBelow reports whether the layers dataset is or lies below the records dataset.
func (s Source) isBelow() bool {
	return s.Layers == s.Records || strings.HasPrefix(s.Layers, s.Records+"/")
}

// Plan returns the header of the backup of a snapshot for a receiver with a state.
func (s Source) Plan(name string, state State) (Header, error) {
	h := Header{Version: version, Name: name, Layers: s.pathOf(s.Layers), OpenZFS: s.ZFS.ABI().Version}
	datasets, err := s.listDatasets()
	if err != nil {
		return h, err
	}
	keys := map[string]string{} // the first path of each key
	for _, d := range datasets {
		snap, err := s.ZFS.DatasetStats(d.Name + "@" + name)
		if errors.Is(err, zfs.ErrNotExist) {
			continue // made later, or removed before
		}
		if err != nil {
			return h, err
		}
		entry, err := s.describe(d, snap, state, keys)
		if err != nil {
			return h, err
		}
		h.Time = snap.Created().UTC()
		h.Datasets = append(h.Datasets, entry)
	}
	if err := h.check(); err != nil {
		return h, fmt.Errorf("snapshot %s is no backup of %s and %s: %w", name, s.Records, s.Layers, err)
	}
	return h, nil
}

// listDatasets lists the datasets that a backup may have, parents first.
func (s Source) listDatasets() ([]zfs.Dataset, error) {
	var all []zfs.Dataset
	for _, dataset := range slices.Compact([]string{s.Records, s.Layers}) {
		if dataset == s.Layers && s.Layers != s.Records && s.isBelow() {
			continue
		}
		stats, err := s.ZFS.DatasetStats(dataset)
		if err != nil {
			return nil, err
		}
		below, err := listBelow(s.ZFS, dataset, s.Layers+"/"+quota.RemovedParent)
		if err != nil {
			return nil, err
		}
		all = append(append(all, stats), below...)
	}
	return all, nil
}

// describe returns the entry of a dataset: what it is, and what of it the receiver lacks.
func (s Source) describe(d, snap zfs.Dataset, state State, keys map[string]string) (Dataset, error) {
	e := Dataset{Path: s.pathOf(d.Name), GUID: snap.GUID, Raw: d.IsEncrypted(), Mountpoint: d.Mountpoint()}
	if original, _ := d.Property(mountpointProperty); d.IsLocal(mountpointProperty) {
		e.Mountpoint = original.String() // this is a backup itself
	}
	e.Numbers, e.Texts = ownProperties(d)
	_, e.Snapshot = ownProperties(snap)
	if e.Raw {
		root, _ := d.Property("encryptionroot")
		if first, known := keys[root.String()]; known {
			e.SharesKey, e.KeyPath = true, first
		} else {
			keys[root.String()] = e.Path
		}
	}
	there, known := state.Datasets[e.Path]
	if slices.Contains(there.Snapshots, snap.GUID) {
		e.Have = true
		return e, nil
	}
	token, err := state.token(e.Path)
	if err != nil {
		return e, err
	}
	e.Resumes = token != nil && token.ToGUID == snap.GUID
	if err := s.findBase(&e, d, snap, there, token); err != nil {
		return e, err
	}
	if known && e.From == "" && !e.Resumes && len(there.Snapshots) > 0 {
		return e, fault.New(fault.Invalid, "the receiver's dataset of %s and this one have no snapshot in common: receive into another dataset, or destroy that one", d.Name)
	}
	e.Bytes, err = s.ZFS.SendSizeWith(snap.Name, sending(e, d.Name, nil))
	return e, err
}

// findBase finds the snapshot that the stream of a dataset begins at: the one of the stream that
// was cut, or the newest that both sides have.
func (s Source) findBase(e *Dataset, d, snap zfs.Dataset, there Received, token *zfs.ResumeToken) error {
	var base zfs.Dataset
	for older, err := range s.ZFS.SnapshotNames(d.Name) {
		if err != nil {
			return err
		}
		matches := slices.Contains(there.Snapshots, older.GUID)
		if e.Resumes {
			matches = older.GUID == token.FromGUID
		}
		if matches && older.CreateTXG < snap.CreateTXG && older.CreateTXG >= base.CreateTXG {
			base = older
		}
	}
	if base.Name != "" {
		_, e.From, _ = strings.Cut(base.Name, "@")
		e.FromGUID = base.GUID
	}
	return nil
}

// sending returns the options of the stream of an entry, which the dataset has.
func sending(e Dataset, dataset string, token *zfs.ResumeToken) zfs.Sending {
	o := zfs.Sending{Raw: e.Raw, Resume: token}
	if e.From != "" {
		o.From = dataset + "@" + e.From
	}
	return o
}

// sourceOf returns the dataset that has an entry's snapshot of a name. The dataset of a limited
// container that was removed since is below the parent of such.
func (s Source) sourceOf(e Dataset, name string) string {
	dataset := s.datasetOf(e.Path)
	moved := s.Layers + "/" + quota.RemovedParent + "/" + path.Base(dataset)
	if snap, err := s.ZFS.DatasetStats(moved + "@" + name); err == nil && snap.GUID == e.GUID {
		return moved
	}
	return dataset
}

// Hold keeps the snapshots of a backup until the process ends, so that no other command and no
// retention destroys them.
func (s Source) Hold(h Header) error {
	tag := fmt.Sprintf("overlayzfs-backup-%d", os.Getpid())
	for _, e := range h.Datasets {
		dataset := s.sourceOf(e, h.Name)
		for _, name := range []string{h.Name, e.From} {
			if e.Have || name == "" {
				continue
			}
			if err := s.ZFS.HoldUntilClosed(dataset+"@"+name, tag); err != nil {
				return err
			}
		}
	}
	return nil
}

// Send writes the stream of a plan. It calls step with the number of bytes written.
func (s Source) Send(ctx context.Context, h Header, state State, w io.Writer, step func(int64)) error {
	counted := countingWriter{w, step}
	if err := h.write(counted); err != nil {
		return err
	}
	for _, e := range h.Datasets {
		if e.Have {
			continue
		}
		if err := s.sendDataset(ctx, h, e, state, counted); err != nil {
			return fmt.Errorf("send dataset %s: %w", s.datasetOf(e.Path), err)
		}
	}
	return nil
}

func (s Source) sendDataset(ctx context.Context, h Header, e Dataset, state State, w io.Writer) error {
	var token *zfs.ResumeToken
	if e.Resumes {
		var err error
		if token, err = state.token(e.Path); err != nil {
			return err
		}
	}
	out, err := transfer.NewWriter(w, transfer.Header{
		Name: h.Name, GUID: e.GUID, From: e.From, FromGUID: e.FromGUID, Time: h.Time, Bytes: e.Bytes, Format: overlayzfs.FormatVersion, OpenZFS: h.OpenZFS,
	})
	if err != nil {
		return err
	}
	dataset := s.sourceOf(e, h.Name)
	if err := s.ZFS.SendWith(ctx, dataset+"@"+h.Name, sending(e, dataset, token), out); err != nil {
		return err
	}
	return out.Close()
}

type countingWriter struct {
	w    io.Writer
	step func(int64)
}

func (c countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.step(int64(n))
	return n, err
}
