package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// SetLimits changes the limits of a container's snapshot and returns its name. The name that is
// given may be the snapshot's, the client's key in it, or a unique beginning of that key.
// Options are those of the core's SetLimits. A container that runs can get other limits; for
// a first limit it has to be stopped, because its files are copied.
func (s *Snapshotter) SetLimits(ctx context.Context, name string, options map[string]string) (string, error) {
	r, err := s.findContainer(ctx, name)
	if err != nil {
		return "", translate("limit", name, err)
	}
	// The name is not locked: a copy can take long, and Mounts of the snapshot ends it.
	err = s.store.SetLimitsIf(ctx, r.id, options, func() error { return s.requireActive(ctx, r) })
	return r.info.Name, translate("limit", r.info.Name, err)
}

// requireActive fails when the snapshot was committed or replaced since its record was read. A
// committed one with a limit could not be a parent.
func (s *Snapshotter) requireActive(ctx context.Context, r record) error {
	now, err := s.find(ctx, r.info.Name)
	if err == nil && (now.id != r.id || now.info.Kind != snapshots.KindActive) {
		err = errors.Join(errdefs.ErrFailedPrecondition, errors.New("it was committed or replaced meanwhile"))
	}
	return err
}

// minKeyLength is the shortest beginning of a key that means a snapshot.
const minKeyLength = 4

// findContainer returns the only active snapshot that a name means. A snapshot's own name, and
// then a client's whole key, win over beginnings of others.
func (s *Snapshotter) findContainer(ctx context.Context, name string) (record, error) {
	var exact, begun []string
	err := s.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		key := clientKey(info.Name)
		switch {
		case info.Kind != snapshots.KindActive || isUnpackKey(info.Name):
		case info.Name == name || key == name:
			exact = append(exact, info.Name)
		case len(name) >= minKeyLength && strings.HasPrefix(key, name):
			begun = append(begun, info.Name)
		}
		return nil
	})
	if err != nil {
		return record{}, err
	}
	if slices.Contains(exact, name) {
		exact = []string{name}
	}
	found := dropReplaced(exact)
	if len(found) == 0 {
		found = dropReplaced(begun)
	}
	switch len(found) {
	case 0:
		return record{}, fault.New(fault.NotFound, "no container's snapshot has this name: the ID of a container, or what `ctr snapshots --snapshotter overlayzfs ls` calls its snapshot")
	case 1:
		return s.find(ctx, found[0])
	}
	slices.Sort(found)
	return record{}, fault.New(fault.Invalid, "the name is ambiguous, it can be %s: write more of it", quoteNames(found))
}

// dropReplaced returns the names without those of snapshots that containerd has replaced. A key
// names one snapshot of a name space at a time, and containerd's number grows. One that was removed
// stays here until containerd collects it.
func dropReplaced(names []string) (newest []string) {
	for _, name := range names {
		key, number := withoutNumber(name)
		i := slices.IndexFunc(newest, func(other string) bool {
			otherKey, _ := withoutNumber(other)
			return otherKey == key
		})
		if i < 0 {
			newest = append(newest, name)
		} else if _, other := withoutNumber(newest[i]); number > other {
			newest[i] = name
		}
	}
	return newest
}

// withoutNumber splits containerd's form of a key, NAMESPACE/N/KEY, into NAMESPACE/KEY and the
// number. Any other key is returned as it is.
func withoutNumber(name string) (key string, number uint64) {
	key = clientKey(name)
	if key == name {
		return name, 0
	}
	namespace, rest, _ := strings.Cut(name, "/")
	digits, _, _ := strings.Cut(rest, "/")
	number, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return name, 0
	}
	return namespace + "/" + key, number
}

// quoteNames lists the first names.
func quoteNames(names []string) string {
	const most = 5
	var quoted []string
	for _, name := range names[:min(len(names), most)] {
		quoted = append(quoted, fmt.Sprintf("%.200q", name))
	}
	return strings.Join(quoted, ", or ")
}
