package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/internal/atomicfile"
)

// stateVersion is the version of the state file's format. A file of another version stays
// until Init replaces it.
const stateVersion = 1

// StateName is the name of the state file, beside the home.
const StateName = ".overlayzfs-init.json"

// state is the content of the state file: Init's parameters, which outlive the process.
type state struct {
	Version int      `json:"version"`
	Home    string   `json:"home"`
	Opts    []string `json:"opts,omitempty"`
	UIDMaps []IDMap  `json:"uid_maps,omitempty"`
	GIDMaps []IDMap  `json:"gid_maps,omitempty"`
	// Tokens tie the store to the engine in whose data-root the file lies.
	Tokens []string `json:"tokens,omitempty"`
}

// stateFile is the path of the state file; with "" nothing is stored.
type stateFile string

// load returns the stored parameters, or nil when there are none.
func (s stateFile) load() (*InitParams, error) {
	if s == "" {
		return nil, nil
	}
	data, err := s.read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p, err := decodeState(data)
	if err != nil {
		return nil, fmt.Errorf("state file %s: %w", string(s), err)
	}
	return &p, nil
}

func (s stateFile) read() ([]byte, error) {
	f, err := os.Open(string(s))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxRequest+1))
	return data, errors.Join(err, f.Close())
}

// save stores p durably for load. It writes nothing when p is stored already, so that a
// full disk does not stop a restart.
func (s stateFile) save(p InitParams) error {
	if s == "" {
		return nil
	}
	data, err := encodeState(p, s.tokens())
	if err != nil {
		return err
	}
	if old, err := s.read(); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := s.replace(data); err != nil {
		return fmt.Errorf("store Init's parameters for a restart: %w", err)
	}
	return nil
}

// tokens returns the stored tokens, or none when the file cannot be read.
func (s stateFile) tokens() []string {
	data, err := s.read()
	if err != nil {
		return nil
	}
	return Tokens(data)
}

// Tokens returns the tokens in a state file's content, or none when it is not one.
func Tokens(data []byte) []string {
	var s state
	if json.Unmarshal(data, &s) != nil || s.Version != stateVersion {
		return nil
	}
	return s.Tokens
}

// saveTokens stores the tokens beside the parameters, durably.
func (s stateFile) saveTokens(p InitParams, tokens []string) error {
	if s == "" {
		return nil
	}
	data, err := encodeState(p, tokens)
	if err != nil {
		return err
	}
	return s.replace(data)
}

// replace replaces the file's content, durably.
func (s stateFile) replace(data []byte) error {
	if err := os.MkdirAll(filepath.Dir(string(s)), 0o700); err != nil {
		return err
	}
	return atomicfile.Replace(string(s), data, atomicfile.Options{Mode: 0o600, Durability: atomicfile.ContentAndName})
}

func encodeState(p InitParams, tokens []string) ([]byte, error) {
	return json.Marshal(state{stateVersion, p.Home, p.Opts, p.UIDMaps, p.GIDMaps, tokens})
}

func decodeState(data []byte) (InitParams, error) {
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return InitParams{}, fmt.Errorf("not a state file: %w", err)
	}
	if s.Version != stateVersion {
		return InitParams{}, fmt.Errorf("version %d: this plugin knows version %d", s.Version, stateVersion)
	}
	p := InitParams{s.Home, s.Opts, s.UIDMaps, s.GIDMaps}
	return p, p.check()
}
