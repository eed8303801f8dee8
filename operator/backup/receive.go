package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	units "github.com/docker/go-units"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/transfer"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// ErrRefused is in the error of a restore that was refused before it changed anything.
var ErrRefused = errors.New("refused, and nothing was changed")

// Target receives a backup.
type Target struct {
	ZFS     *zfs.Handle
	Dataset string // of the records; layers and the rest lie below
}

func (t Target) datasetOf(path string) string {
	if path == "" {
		return t.Dataset
	}
	return t.Dataset + "/" + path
}

// Examine returns why a backup cannot be received.
func (t Target) Examine(h Header) (why []string, err error) {
	refuse := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	state, err := ReadState(t.ZFS, t.Dataset)
	if err != nil {
		return nil, err
	}
	parent, err := t.ZFS.DatasetStats(parentDataset(t.Dataset))
	switch {
	case errors.Is(err, zfs.ErrNotExist):
		refuse("cannot create %s: dataset %s does not exist", t.Dataset, parentDataset(t.Dataset))
	case err != nil:
		return nil, err
	case parent.Available() < h.Bytes():
		refuse("the backup needs about %s, and only %s are available", units.BytesSize(float64(h.Bytes())), units.BytesSize(float64(parent.Available())))
	}
	for _, d := range h.Datasets {
		there, known := state.Datasets[d.Path]
		name := t.datasetOf(d.Path)
		switch {
		case d.Have && !slices.Contains(there.Snapshots, d.GUID):
			refuse("dataset %s lacks snapshot %s, which the sender believes to be there: send again with --have", name, h.Name)
		case d.Have || d.Resumes && there.Resume != "":
		case slices.Contains(there.Snapshots, d.GUID):
			refuse("dataset %s has received this backup already: send with --have, which leaves it out", name)
		case d.From == "" && known && there.Resume == "":
			refuse("dataset %s exists: name a dataset that does not exist, or send with --have what it lacks", name)
		case d.From != "" && !slices.Contains(there.Snapshots, d.FromGUID):
			refuse("dataset %s lacks snapshot %s, from which the stream continues: send with --have", name, d.From)
		}
	}
	inUse, err := t.findMounted(h)
	return append(why, inUse...), err
}

// findMounted refuses datasets that are in use: receiving would change files under their users.
func (t Target) findMounted(h Header) (why []string, err error) {
	for _, d := range h.Datasets {
		name := t.datasetOf(d.Path)
		_, err := zfs.ObjsetKstat(zfs.PoolOf(name), name)
		switch {
		case err == nil && !d.Have:
			why = append(why, fmt.Sprintf("dataset %s is mounted: unmount it", name))
		case err != nil && !errors.Is(err, zfs.ErrNotExist):
			return nil, err
		}
	}
	return why, nil
}

func parentDataset(dataset string) string {
	if i := strings.LastIndex(dataset, "/"); i > 0 {
		return dataset[:i]
	}
	return dataset
}

// Receive receives the datasets of a backup. It can be repeated with a stream of what is
// missing. It calls step with the number of bytes read.
func (t Target) Receive(ctx context.Context, h Header, r io.Reader, step func(int64)) error {
	for _, d := range h.Datasets {
		if !d.Have {
			if err := t.receiveDataset(ctx, h, d, countingReader{r, step}); err != nil {
				return fmt.Errorf("receive dataset %s: %w", t.datasetOf(d.Path), err)
			}
		}
		if err := t.finishDataset(h, d); err != nil {
			return err
		}
	}
	return nil
}

func (t Target) receiveDataset(ctx context.Context, h Header, d Dataset, r io.Reader) error {
	stream, err := transfer.NewReader(r)
	if err != nil {
		return err
	}
	if stream.Header.GUID != d.GUID || stream.Header.FromGUID != d.FromGUID || stream.Begin.IsRaw() != d.Raw {
		return fault.New(fault.Invalid, "the backup's streams do not match its header")
	}
	name := t.datasetOf(d.Path)
	if !d.Resumes {
		if err := t.dropPartial(ctx, name, d.From == ""); err != nil {
			return err
		}
	}
	o := zfs.Receiving{Resumable: true, Force: d.From != ""}
	if d.From == "" {
		o.Received = d.received()
		o.Properties = zfs.Properties{
			"canmount": zfs.String("noauto"), "mountpoint": zfs.String("none"), mountpointProperty: zfs.String(d.Mountpoint),
		}
	}
	if err := t.ZFS.Receive(ctx, name+"@"+h.Name, stream.Begin, o, stream); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, stream) // to its end, where the next begins
	return err
}

// dropPartial gives up what was received of another stream that was cut.
func (t Target) dropPartial(ctx context.Context, name string, isFull bool) error {
	stats, err := t.ZFS.DatasetStats(name)
	if errors.Is(err, zfs.ErrNotExist) || err == nil && stats.ResumeToken() == "" {
		return nil
	}
	if err != nil {
		return err
	}
	if isFull {
		return t.ZFS.DestroyRetry(ctx, name)
	}
	return t.ZFS.DestroyRetry(ctx, name+"/%recv")
}

// finishDataset does what follows a stream, as often as it takes: properties of the snapshot,
// and the key that the dataset shares with another.
func (t Target) finishDataset(h Header, d Dataset) error {
	name := t.datasetOf(d.Path)
	if err := t.ZFS.SetReceived(name+"@"+h.Name, d.receivedOfSnapshot()); err != nil {
		return err
	}
	if !d.SharesKey {
		return nil
	}
	stats, err := t.ZFS.DatasetStats(name)
	if err != nil {
		return err
	}
	if root, _ := stats.Property("encryptionroot"); root.String() != name {
		return nil
	}
	return t.ZFS.InheritKey(name)
}

type countingReader struct {
	r    io.Reader
	step func(int64)
}

func (c countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.step(int64(n))
	return n, err
}
