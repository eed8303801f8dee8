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

// Records is everything that Docker knows under one storage driver.
type Records struct {
	Driver     string
	Layers     map[digest.Digest]Layer // by chain ID
	Mounts     []Mount
	Images     []Image
	Containers []Container
	// OtherDrivers has the other drivers that containers use, each with the ID of one such
	// container.
	OtherDrivers map[string]string
	// OtherLayers has further layer IDs, each with its use: BuildCache or PendingRemoval.
	OtherLayers map[string]string
	// BuildsLocked is set when BuildKit's records were not read, because a running
	// dockerd has them locked.
	BuildsLocked bool
	// Damaged has the records that could not be read.
	Damaged []Damage
}

// Damage is a record that differs from what Docker 20.10 to 27 write.
type Damage struct {
	Path string // below the data-root
	Err  error
}

// Error names the record. The text is safe to print on a terminal.
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
		return nil, errors.Join(err, fault.New(fault.NotFound, "Docker has no records of a storage driver %q in %s, only of: %s",
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

// reader fills Records.
type reader struct {
	*Root
	base    string // image/DRIVER
	records *Records
}

// forEachEntry calls show for every entry of a directory. An entry for which show fails
// is added to Records.Damaged, unless it has vanished meanwhile.
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

// parseDigest parses a digest. It refuses algorithms other than SHA-256, which Docker
// does not use.
func parseDigest(text string) (digest.Digest, error) {
	d, err := digest.Parse(text)
	if err != nil {
		return "", fault.New(fault.Invalid, "%.100q is not a digest: %w", text, err)
	}
	if d.Algorithm() != digest.SHA256 {
		return "", fault.New(fault.Unsupported, "the digest algorithm %s is not used in Docker's records", d.Algorithm())
	}
	return d, nil
}

// parseEncoded returns the digest that a file name stands for.
func parseEncoded(name string) (digest.Digest, error) { return parseDigest("sha256:" + name) }
