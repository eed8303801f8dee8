package host

import (
	"cmp"
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"

	units "github.com/docker/go-units"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/doctor"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// property is a property to set, as zfs(8) writes it.
type property struct{ name, value string }

// neutralProperties have their defaults on a dataset of Docker, whatever a parent has for
// its own use: layers and volumes may hold anything that a program expects on ext4.
// Visible snapshot directories would be volumes with the name .zfs, and a shared parent
// would share volumes.
var neutralProperties = []property{
	{"readonly", "off"}, {"snapdir", "hidden"}, {"exec", "on"}, {"setuid", "on"}, {"devices", "on"}, {"aclmode", "discard"},
	{"sharenfs", "off"}, {"sharesmb", "off"},
}

// neutralDefault is the number of a neutral property that is not set.
func neutralDefault(name string) uint64 {
	return map[string]uint64{"exec": 1, "setuid": 1, "devices": 1}[name]
}

// Above is the nearest existing dataset above one that does not exist yet, with what the new
// one would inherit.
type Above struct {
	Dataset zfs.Dataset
	Rules   zfs.NameRules
}

// findAbove returns the nearest existing dataset above name.
func findAbove(z *zfs.Handle, name string) (*Above, error) {
	for name = path.Dir(name); name != "."; name = path.Dir(name) {
		d, err := z.DatasetStats(name)
		if errors.Is(err, zfs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		rules, err := z.NameRules(name)
		return &Above{d, rules}, err
	}
	return nil, nil
}

// corrections returns the properties that a new dataset must not inherit.
func (a *Above) corrections() (all []property) {
	if a == nil {
		return nil
	}
	if a.Rules.Normalized || a.Rules.UTF8Only {
		all = append(all, property{"normalization", "none"}, property{"utf8only", "off"})
	}
	if !a.Rules.CaseSensitive {
		all = append(all, property{"casesensitivity", "sensitive"})
	}
	for _, s := range findUnneutral(a.Dataset) {
		all = append(all, property{s.Property, s.Advised})
	}
	return all
}

// findUnneutral returns the neutral properties that a dataset has with another value.
func findUnneutral(d zfs.Dataset) (settings []doctor.Setting) {
	for _, p := range neutralProperties {
		value, there := d.Property(p.name)
		if !there {
			value.Value = zfs.Uint(neutralDefault(p.name))
		}
		text := value.String()
		if zfs.HasWords(p.name) {
			text = cmp.Or(zfs.Word(p.name, value.Uint()), text)
		} else if !there {
			text = p.value // a string that is not set is off
		}
		if text != p.value {
			settings = append(settings, doctor.Setting{Property: p.name, Current: text, Advised: p.value})
		}
	}
	return settings
}

// findUnfit returns the properties of an existing dataset that setup changes.
func findUnfit(d zfs.Dataset, module string) []doctor.Setting {
	return append(doctor.FindUnadvised(d, module), findUnneutral(d)...)
}

// checkPlaces fails when a dataset cannot be created where it is wanted, or when the
// layers' dataset has properties that nothing can change.
func checkPlaces(f Facts, w Request) error {
	for _, name := range []string{w.Parent, w.Layers} {
		above := f.Above[name]
		if _, there := f.Datasets[name]; there || name == "" || above == nil {
			continue
		}
		if parent := path.Dir(name); above.Dataset.Name != parent && parent != w.Parent {
			return fault.New(fault.NotFound, "dataset %s does not exist, and %s would lie in it: run `zfs create -p -o mountpoint=none %s` first", parent, name, parent)
		}
		if p, ok := above.Dataset.Property("keystatus"); ok && p.Uint() == keyUnavailable {
			return fault.New(fault.Unsupported, "dataset %s is encrypted and its key is not loaded: run `zfs load-key %s` first", above.Dataset.Name, encryptionRoot(above.Dataset))
		}
	}
	if rules := f.Rules; rules != nil && (rules.Normalized || rules.UTF8Only || !rules.CaseSensitive) {
		return fault.New(fault.Unsupported, "dataset %s has normalization, utf8only or casesensitivity that layers cannot have, and only a new dataset can have others: name one that does not exist", w.Layers)
	}
	return nil
}

// keyUnavailable is ZFS_KEYSTATUS_UNAVAILABLE of include/sys/fs/zfs.h.
const keyUnavailable = 1

// encryptionRoot returns the dataset whose key opens d, or "" when d is not encrypted.
func encryptionRoot(d zfs.Dataset) string {
	p, _ := d.Property("encryptionroot")
	if !p.IsString() {
		return ""
	}
	return p.String()
}

// advisedProperties returns the advised properties of every dataset, followed by more.
func advisedProperties(more ...property) []property {
	var all []property
	for _, s := range doctor.AdvisedProperties() {
		all = append(all, property{s.Property, s.Advised})
	}
	return append(all, more...)
}

// LayerProperties returns the properties of a new dataset for layers.
func LayerProperties() (zfs.Properties, error) {
	return encodeProperties(advisedProperties(property{"mountpoint", "legacy"}))
}

// sizeProperties are the properties with a size as value.
var sizeProperties = []string{"recordsize"}

// encodeProperties converts properties into the numbers and strings that ZFS takes.
func encodeProperties(properties []property) (zfs.Properties, error) {
	packed := zfs.Properties{}
	for _, p := range properties {
		packed[p.name] = zfs.String(p.value)
		if slices.Contains(sizeProperties, p.name) {
			n, err := units.RAMInBytes(p.value)
			if err != nil {
				return nil, fault.New(fault.Invalid, "%s=%s: %w", p.name, strconv.Quote(p.value), err)
			}
			packed[p.name] = zfs.Uint(uint64(n))
		}
	}
	return packed, nil
}

// formatProperties formats properties as zfs(8) takes them.
func formatProperties(properties []property) string {
	text := &strings.Builder{}
	for _, p := range properties {
		text.WriteString(" " + p.name + "=" + p.value)
	}
	return text.String()
}
