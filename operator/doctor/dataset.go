package doctor

import (
	"fmt"
	"slices"

	units "github.com/docker/go-units"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// advice describes the advised value of a property of the store's dataset.
type advice struct {
	property     string
	good         []uint64
	defaultValue func(module version) uint64
	severity     Severity
	reason       string
	set          string // the value to copy
}

// The numbers are those of include/sys/fs/zfs.h and include/sys/zio_compress.h,
// the defaults those of module/zcommon/zfs_prop.c.
var advices = []advice{
	{"compression", []uint64{1, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, zstd},
		changedSince(version{2, 2, 0}, 2, 1), Warning, "layers compress to half, and reading less is faster than unpacking it", "lz4"},
	{"xattr", []uint64{2},
		changedSince(version{2, 3, 0}, 1, 2), Warning, "opaque directories and capabilities are extended attributes; otherwise each is a hidden directory of its own", "sa"},
	{"dnodesize", []uint64{1, 1024, 2048, 4096, 8192, 16384},
		constant(0), Note, "extended attributes fit into a larger dnode, and cost no block of their own then", "auto"},
	{"acltype", []uint64{1},
		constant(0), Note, "images may carry POSIX ACLs, and programs in containers set them", "posix"},
	{"atime", []uint64{0},
		constant(1), Note, "the plugin mounts without access times whatever it says; other mounts of the dataset would write for each read", "off"},
	{"recordsize", []uint64{32768, 65536, 131072, 262144, 524288, 1048576},
		constant(131072), Note, "small records make large files of images slow to read and to compress; a database gets its own with --storage-opt recordsize=16K", "128K"},
}

// The property compression has the algorithm's level above the algorithm
// (SPA_COMPRESSBITS of include/sys/spa.h); only zstd has levels, and from fastZstd
// on they are of another kind (enum zio_zstd_levels).
const (
	zstd       = 16
	levelShift = 7
	fastZstd   = 102
)

// judgedPart returns the part of a value that is judged: of compression, the algorithm.
func (a advice) judgedPart(value uint64) uint64 {
	if a.property == "compression" {
		return value & (1<<levelShift - 1)
	}
	return value
}

// isGood reports whether the value is good.
func (a advice) isGood(value uint64) bool { return slices.Contains(a.good, a.judgedPart(value)) }

func constant(n uint64) func(version) uint64 { return func(version) uint64 { return n } }

// changedSince returns a default value that changed with a version.
func changedSince(v version, before, after uint64) func(version) uint64 {
	return func(module version) uint64 {
		if module.isBefore(v) {
			return before
		}
		return after
	}
}

// checkProperties compares the dataset's properties with the advice.
func checkProperties(f Facts) (found []Finding) {
	const check = "dataset"
	switch {
	case f.DatasetErr != nil:
		return []Finding{{check, Broken, f.DatasetErr.Error(), "layers lie on it", restoreCommand(f)}}
	case f.Stats == nil:
		return nil
	}
	found = okFinding(check, f.Dataset)
	for _, a := range advices {
		found = append(found, a.judge(f)...)
	}
	for _, more := range [][]Finding{checkSync(*f.Stats), checkUsable(*f.Stats), checkMountpoint(f), checkQuotas(*f.Stats)} {
		found = append(found, more...)
	}
	return found
}

// checkQuotas checks whether the dataset nearly reaches a quota of the administrator's.
func checkQuotas(d zfs.Dataset) (found []Finding) {
	for _, q := range []struct {
		name        string
		limit, used uint64
	}{{"quota", d.Quota(), d.Used()}, {"refquota", d.RefQuota(), d.Referenced()}} {
		if q.limit == 0 || q.used < q.limit/100*crowded {
			continue
		}
		text := fmt.Sprintf("%s=%s, and %s are used", q.name, units.BytesSize(float64(q.limit)), units.BytesSize(float64(q.used)))
		found = append(found, Finding{"dataset space", Warning, text, "images are not pulled and built, and containers not started, when it is reached", fmt.Sprintf("zfs set %s=none %s    # or a larger one; overlayzfs df shows what takes it", q.name, d.Name)})
	}
	return found
}

// restoreCommand returns the command that imports the pool or creates the dataset.
func restoreCommand(f Facts) string {
	pool := zfs.PoolOf(f.Dataset)
	if f.Pool == nil {
		return "zpool import " + pool
	}
	create := "zfs create -p -o mountpoint=legacy -o normalization=none -o utf8only=off -o casesensitivity=sensitive"
	for _, s := range AdvisedProperties() {
		create += " -o " + s.Property + "=" + s.Advised
	}
	return create + " " + f.Dataset + "    # with nothing in it: all images are gone, unless it was only renamed"
}

// Setting is a property with its advised value.
type Setting struct {
	Property string
	Current  string // what it is, in words; empty where there is no dataset yet
	Advised  string // what it should be
}

// AdvisedProperties returns the properties for a new dataset of layers.
func AdvisedProperties() (settings []Setting) {
	for _, a := range advices {
		settings = append(settings, Setting{Property: a.property, Advised: a.set})
	}
	return settings
}

// FindUnadvised returns the properties of a dataset that differ from the advice. The
// module's version decides the defaults.
func FindUnadvised(d zfs.Dataset, module string) (settings []Setting) {
	for _, a := range advices {
		if value := a.value(d, module); !a.isGood(value) {
			settings = append(settings, Setting{a.property, a.text(value), a.set})
		}
	}
	return settings
}

func (a advice) value(d zfs.Dataset, module string) uint64 {
	if p, ok := d.Property(a.property); ok {
		return p.Uint()
	}
	v, _ := parseVersion(module)
	return a.defaultValue(v)
}

func (a advice) judge(f Facts) []Finding {
	value := a.value(*f.Stats, f.Module)
	text := a.property + "=" + a.text(value)
	if a.isGood(value) {
		return okFinding("property", text)
	}
	return []Finding{{"property", a.severity, text, a.reason, fmt.Sprintf("zfs set %s=%s %s    # new files only", a.property, a.set, f.Dataset)}}
}

func (a advice) text(value uint64) string {
	if word := zfs.Word(a.property, a.judgedPart(value)); word != "" {
		return word + compressionLevel(value, a)
	}
	if a.property == "recordsize" {
		return units.CustomSize("%.4g%s", float64(value), 1024, []string{"", "K", "M"})
	}
	return fmt.Sprint(value)
}

// compressionLevel returns the suffix for a compression level, such as "-9".
func compressionLevel(value uint64, a advice) string {
	level := (value - a.judgedPart(value)) >> levelShift
	switch {
	case level == 0:
		return ""
	case level >= fastZstd:
		return "-fast"
	}
	return fmt.Sprintf("-%d", level)
}

// checkSync notes what the property sync costs or risks. The choice is the
// administrator's.
func checkSync(d zfs.Dataset) []Finding {
	switch d.SyncMode() {
	case zfs.SyncDisabled:
		return []Finding{{"property", Note, "sync=disabled", "fsync answers at once and saves nothing: a power cut takes up to the last five seconds of what containers wrote, also what they fsynced. Images are safe", "zfs set sync=standard " + d.Name + "    # for databases, or --storage-opt sync=standard for one container"}}
	case zfs.SyncAlways:
		return []Finding{{"property", Warning, "sync=always", "every write waits for the disk, also those that nobody wants to be durable", "zfs set sync=standard " + d.Name}}
	}
	return okFinding("property", "sync=standard")
}

// checkUsable checks for properties that make the dataset unusable.
func checkUsable(d zfs.Dataset) (found []Finding) {
	if d.ReadOnly() {
		found = append(found, Finding{"property", Broken, "readonly=on", "layers cannot be written", "zfs set readonly=off " + d.Name})
	}
	if p, ok := d.Property("keystatus"); ok && p.Uint() == 1 { // ZFS_KEYSTATUS_UNAVAILABLE
		root := d.Name
		if p, ok := d.Property("encryptionroot"); ok && p.IsString() {
			root = p.String()
		}
		found = append(found, Finding{"property", Broken, "keystatus=unavailable", "the dataset is encrypted and its key is not loaded", "zfs load-key " + root})
	}
	return found
}

// checkMountpoint notes when `zfs mount -a` mounts the dataset, which the plugin mounts by
// itself. A store in place lies on the data-root's dataset, which has to be mounted.
func checkMountpoint(f Facts) []Finding {
	m := f.Stats.Mountpoint()
	if f.InPlace || m == "legacy" || m == "none" {
		return nil
	}
	return []Finding{{"property", Note, "mountpoint=" + m, "the plugin mounts the dataset by itself; `zfs mount -a` should not", "zfs set mountpoint=legacy " + f.Dataset + "    # unless Docker's data-root lies on it"}}
}
