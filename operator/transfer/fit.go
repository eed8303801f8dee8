package transfer

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	units "github.com/docker/go-units"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// sentProperty marks snapshots that were taken to be sent. Its value is stateSending or
// stateSent.
const sentProperty = "overlayzfs:sent"

// The values of sentProperty.
const (
	stateSending = "sending"
	stateSent    = "1"
)

// TakeSnapshot takes a snapshot to send. An incremental stream cannot start from it
// before MarkSent.
func TakeSnapshot(z *zfs.Handle, snap string) error {
	return z.Snapshot([]string{snap}, map[string]string{sentProperty: stateSending})
}

// MarkSent marks a snapshot whose stream was sent completely.
func MarkSent(z *zfs.Handle, snap string) error { return z.SetString(snap, sentProperty, stateSent) }

// hasState reports whether a snapshot was taken on this host to be sent, and has the
// state.
func hasState(s zfs.Dataset, state string) bool {
	p, _ := s.Property(sentProperty)
	return s.IsLocalOrReceived(sentProperty) && p.String() == state
}

// Target describes the dataset that is to receive a stream.
type Target struct {
	Dataset         string
	Exists          bool // the dataset
	Parent          bool // the dataset above exists
	Available       uint64
	MissingFeatures []string      // pool features that the stream needs
	Raw             bool          // the stream's blocks are encrypted with the sender's key
	Snapshots       []zfs.Dataset // the oldest first, with GUID and name
	LimitedChildren []string      // datasets of limited containers
}

// InspectTarget reads the state of the target.
func InspectTarget(z *zfs.Handle, dataset string, b zfs.Begin) (t Target, err error) {
	t.Dataset, t.Raw = dataset, b.IsRaw()
	pool := zfs.PoolOf(dataset)
	for _, guid := range b.Features() {
		enabled, err := z.PoolFeature(pool, guid)
		if err != nil {
			return t, err
		}
		if !enabled {
			t.MissingFeatures = append(t.MissingFeatures, guid)
		}
	}
	above, err := z.DatasetStats(parentOf(dataset))
	if err != nil && !errors.Is(err, zfs.ErrNotExist) {
		return t, err
	}
	t.Parent, t.Available = err == nil, above.Available()
	return t, t.inspectDataset(z)
}

// parentOf returns the dataset above, or the pool itself for a pool.
func parentOf(dataset string) string {
	if !strings.Contains(dataset, "/") {
		return dataset
	}
	return path.Dir(dataset)
}

func (t *Target) inspectDataset(z *zfs.Handle) (err error) {
	if t.Exists, err = z.Exists(t.Dataset); err != nil || !t.Exists {
		return err
	}
	if t.Snapshots, err = zfs.Collect(z.SnapshotNames(t.Dataset)); err != nil {
		return err
	}
	slices.SortFunc(t.Snapshots, compareAge)
	live, _, err := quota.ListDatasets(z, t.Dataset)
	for _, child := range live {
		if !quota.IsSpare(child) {
			t.LimitedChildren = append(t.LimitedChildren, child.Name)
		}
	}
	return err
}

func compareAge(a, b zfs.Dataset) int { return cmp.Compare(a.CreateTXG, b.CreateTXG) }

// FindMisfits returns the reasons why the target cannot receive the stream. With discard
// newer snapshots are no reason.
func (t Target) FindMisfits(h Header, discard bool) (why []string) {
	refuse := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	if h.Format != overlayzfs.FormatVersion {
		refuse("the store in the stream has format version %d, and this overlayzfs supports version %d: use the overlayzfs that sent it", h.Format, overlayzfs.FormatVersion)
	}
	if t.Raw {
		refuse("the stream is encrypted with the sender's key, and its files could not be checked: `overlayzfs send` makes another")
	}
	for _, guid := range t.MissingFeatures {
		refuse("the stream of OpenZFS %s needs the feature %s, which is not enabled on the pool: enable it with `zpool set feature@NAME=enabled`, or run `zpool upgrade`", h.OpenZFS, guid)
	}
	if h.Bytes > t.Available && t.Parent {
		refuse("the stream needs about %s, and only %s are available", units.BytesSize(float64(h.Bytes)), units.BytesSize(float64(t.Available)))
	}
	if h.IsFull() {
		return append(why, t.checkFull(h)...)
	}
	return append(why, t.checkIncremental(h, discard)...)
}

// checkFull returns the misfits of a full stream, which creates the dataset.
func (t Target) checkFull(h Header) []string {
	switch {
	case t.findSnapshot(h.GUID) >= 0:
		return []string{fmt.Sprintf("dataset %s has received this stream already", t.Dataset)}
	case t.Exists:
		return []string{fmt.Sprintf("dataset %s exists, and a full stream creates a new one: name a dataset that does not exist, or send only the changes with --from", t.Dataset)}
	case !t.Parent:
		return []string{fmt.Sprintf("cannot create %s: dataset %s does not exist", t.Dataset, path.Dir(t.Dataset))}
	}
	return nil
}

// checkIncremental returns the misfits of an incremental stream.
func (t Target) checkIncremental(h Header, discard bool) (why []string) {
	from := t.findSnapshot(h.FromGUID)
	switch {
	case !t.Exists:
		return []string{fmt.Sprintf("dataset %s does not exist, and the stream has only the changes since %s: send a full stream first, without --from", t.Dataset, h.From)}
	case t.findSnapshot(h.GUID) >= 0:
		return []string{fmt.Sprintf("dataset %s has received this stream already", t.Dataset)}
	case from < 0:
		return []string{fmt.Sprintf("dataset %s lacks snapshot %s, from which the stream continues, and has: %s; send with --from one of these, or a full stream", t.Dataset, h.From, t.snapshotNames(0))}
	}
	if slices.ContainsFunc(t.Snapshots, func(s zfs.Dataset) bool { return s.Name == t.Dataset+"@"+h.Name }) {
		why = append(why, fmt.Sprintf("dataset %s has a different snapshot named %s: rename or destroy it", t.Dataset, h.Name))
	}
	if newer := t.snapshotNames(from + 1); newer != "none" && !discard {
		why = append(why, fmt.Sprintf("snapshots newer than %s would be lost: %s; allow that with --discard", h.From, newer))
	}
	if len(t.LimitedChildren) > 0 {
		why = append(why, fmt.Sprintf("dataset %s belongs to a container with a limit: remove the container first", t.LimitedChildren[0]))
	}
	return why
}

// findSnapshot returns the index of the snapshot with a GUID, or -1.
func (t Target) findSnapshot(guid uint64) int {
	return slices.IndexFunc(t.Snapshots, func(s zfs.Dataset) bool { return s.GUID == guid })
}

// CommonSnapshot returns the full name of the snapshot from which an incremental stream
// continues, or "" when there is none.
func (t Target) CommonSnapshot(h Header) string {
	if i := t.findSnapshot(h.FromGUID); i >= 0 && !h.IsFull() {
		return t.Snapshots[i].Name
	}
	return ""
}

// snapshotNames returns the newest names of the snapshots from index first on, for
// messages.
func (t Target) snapshotNames(first int) string {
	const most = 5
	var names []string
	for i := len(t.Snapshots) - 1; i >= first && len(names) < most; i-- {
		_, name, _ := strings.Cut(t.Snapshots[i].Name, "@")
		names = append(names, name)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// FindSent returns the snapshots of a dataset that were sent, the newest last.
func FindSent(z *zfs.Handle, dataset string) ([]zfs.Dataset, error) {
	all, err := zfs.Collect(z.Snapshots(dataset))
	return filterByState(all, stateSent), err
}

// FindAbandoned returns the snapshots of a dataset whose stream never ended because the
// command was killed. A command that runs holds its snapshot.
func FindAbandoned(z *zfs.Handle, dataset string) (names []string, err error) {
	all, err := zfs.Collect(z.Snapshots(dataset))
	for _, s := range filterByState(all, stateSending) {
		if held, _ := s.Property("userrefs"); held.Uint() == 0 {
			names = append(names, s.Name)
		}
	}
	return names, err
}

// IsSending reports whether a snapshot was taken to be sent, and its stream did not end.
func IsSending(z *zfs.Handle, snap string) (bool, error) {
	if snap == "" {
		return false, nil
	}
	s, err := z.DatasetStats(snap)
	return err == nil && hasState(s, stateSending), err
}

func filterByState(all []zfs.Dataset, state string) []zfs.Dataset {
	all = slices.DeleteFunc(all, func(s zfs.Dataset) bool { return !hasState(s, state) })
	slices.SortFunc(all, compareAge)
	return all
}
