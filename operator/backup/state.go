package backup

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// State is what a receiver has of a backup.
type State struct {
	Datasets map[string]Received `json:"datasets"` // by path
}

// Received is what a receiver has of one dataset.
type Received struct {
	Snapshots []uint64 `json:"snapshots"`        // GUIDs
	Resume    string   `json:"resume,omitempty"` // the token of a stream that was cut
}

// ReadState reads what is below a receiver's dataset.
func ReadState(z *zfs.Handle, dataset string) (State, error) {
	s := State{Datasets: map[string]Received{}}
	return s, s.read(z, dataset, "")
}

func (s State) read(z *zfs.Handle, dataset, path string) error {
	stats, err := z.DatasetStats(dataset)
	if errors.Is(err, zfs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r := Received{Resume: stats.ResumeToken(), Snapshots: []uint64{}}
	for snap, err := range z.SnapshotNames(dataset) {
		if err != nil {
			return err
		}
		r.Snapshots = append(r.Snapshots, snap.GUID)
	}
	s.Datasets[path] = r
	for child, err := range z.Children(dataset) {
		if err != nil {
			return err
		}
		below := child.Name[len(dataset)+1:]
		if path != "" {
			below = path + "/" + below
		}
		if err := s.read(z, child.Name, below); err != nil {
			return err
		}
	}
	return nil
}

// maxState bounds a state that is read.
const maxState = 64 << 20

// ParseState reads a state in JSON.
func ParseState(r io.Reader) (State, error) {
	var s State
	if err := json.NewDecoder(io.LimitReader(r, maxState)).Decode(&s); err != nil {
		return s, fault.New(fault.Invalid, "read what the receiver has: %w; `overlayzfs restore --have` prints it", err)
	}
	return s, nil
}

// token returns where the stream of a dataset was cut, or nil.
func (s State) token(path string) (*zfs.ResumeToken, error) {
	text := s.Datasets[path].Resume
	if text == "" {
		return nil, nil
	}
	t, err := zfs.ParseResumeToken(text)
	if err != nil {
		return nil, err
	}
	return &t, nil
}

// interrupted returns the GUID of a snapshot whose stream was cut, or 0.
func (s State) interrupted() (guid uint64, path string, err error) {
	for path := range s.Datasets {
		t, err := s.token(path)
		if err != nil {
			return 0, "", err
		}
		if t != nil {
			return t.ToGUID, path, nil
		}
	}
	return 0, "", nil
}
