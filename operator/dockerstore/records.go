package dockerstore

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Records are what Docker knows under one storage driver.
type Records struct {
	Driver     string
	Layers     map[digest.Digest]Layer // by chain ID
	Mounts     []Mount
	Images     []Image
	Containers []Container
	// OtherDrivers are the other drivers that containers were made with, and one
	// such container of each.
	OtherDrivers map[string]string
	// OtherLayers are further layer IDs that Docker knows, and what for.
	OtherLayers map[string]string
	// BuildsLocked: BuildKit's records were not read, because a running dockerd
	// has them locked.
	BuildsLocked bool
	// Damaged are records that could not be read.
	Damaged []Damage
}

// Damage is a record that is not what Docker 20.10 to 27 write.
type Damage struct {
	Path string // below the data-root
	Err  error
}

// Error names the record, in a way that a terminal can be given.
func (d Damage) Error() string { return fault.Printable(fmt.Sprintf("%s: %v", d.Path, d.Err)) }

// Unwrap returns the cause.
func (d Damage) Unwrap() error { return d.Err }

// Read reads the records that Docker has under a storage driver.
func (r *Root) Read(driver string) (*Records, error) {
	if err := checkDriver(driver); err != nil {
		return nil, err
	}
	reader := &reader{Root: r, base: path.Join(imagesDir, driver), records: &Records{
		Driver: driver, Layers: map[digest.Digest]Layer{}, OtherLayers: map[string]string{}, OtherDrivers: map[string]string{},
	}}
	if !r.exists(reader.base) {
		drivers, err := r.Drivers()
		return nil, errors.Join(err, fault.New(fault.NotFound, "Docker has no records of a storage driver %q in %s; it has of %s",
			driver, r.dir, joinOrNone(drivers)))
	}
	for _, step := range []func() error{reader.readLayers, reader.readMounts, reader.readImages, reader.readContainers, reader.readBuilds} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("records of Docker in %s: %w", r.dir, err)
		}
	}
	return reader.records, nil
}

func joinOrNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return fault.Printable(strings.Join(names, ", "))
}

// reader collects records.
type reader struct {
	*Root
	base    string // image/DRIVER
	records *Records
}

// forEachEntry shows every entry of a directory. What show cannot read is damaged,
// unless it is gone meanwhile.
func (r *reader) forEachEntry(dir string, show func(entry fs.DirEntry, name string) error) error {
	entries, err := r.list(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		if err := show(entry, name); err != nil && r.exists(name) {
			r.addDamage(name, err)
		}
	}
	return nil
}

func (r *reader) addDamage(name string, err error) {
	r.records.Damaged = append(r.records.Damaged, Damage{name, err})
}

// parseDigest checks a digest; Docker uses no other algorithm.
func parseDigest(text string) (digest.Digest, error) {
	d, err := digest.Parse(text)
	if err != nil {
		return "", fault.New(fault.Invalid, "%.100q is no digest: %w", text, err)
	}
	if d.Algorithm() != digest.SHA256 {
		return "", fault.New(fault.Unsupported, "a digest by %s, which Docker's records do not use", d.Algorithm())
	}
	return d, nil
}

// parseEncoded checks the name of a file that stands for a digest.
func parseEncoded(name string) (digest.Digest, error) { return parseDigest("sha256:" + name) }
