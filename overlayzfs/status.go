package overlayzfs

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	units "github.com/docker/go-units"
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/buildinfo"
	"github.com/overlayzfs/overlayzfs/internal/versions"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Metadata returns the layer's directories under overlay2's names, and its limit.
func (d *Driver) Metadata(ctx context.Context, id string) (map[string]string, error) {
	if err := checkID("layer", id); err != nil {
		return nil, d.addContext("metadata", id, err)
	}
	l := d.home.layer(id)
	data, err := d.metadata(l)
	return data, d.addContext("metadata", id, err)
}

func (d *Driver) metadata(l layer) (map[string]string, error) {
	if err := d.checkHome(); err != nil {
		return nil, err
	}
	if err := l.requireExists("layer"); err != nil {
		return nil, err
	}
	lowers, err := l.resolveLowers()
	if err != nil {
		return nil, err
	}
	data := map[string]string{
		"Dataset":   d.dataset,
		"MergedDir": l.merged(),
		"UpperDir":  l.diff(),
		"WorkDir":   l.work(),
	}
	if len(lowers) > 0 {
		data["LowerDir"] = strings.Join(lowers, ":")
	}
	return data, d.describeLimit(l, data)
}

// describeLimit adds the entries of a limited layer.
func (d *Driver) describeLimit(l layer, data map[string]string) error {
	quotaLayer, err := l.quotaLayer()
	if err != nil {
		return err
	}
	r, err := d.limits.Find(quotaLayer.Key)
	if err != nil || r == nil {
		return err
	}
	data["Quota"] = string(r.Mode)
	if r.Mode == quota.Dataset {
		data["Dataset"] = d.dataset + "/" + quotaLayer.Key
	}
	if r.Bytes > 0 {
		data["Size"] = strconv.FormatUint(r.Bytes, 10)
	}
	if r.Inodes > 0 {
		data["Inodes"] = strconv.FormatUint(r.Inodes, 10)
	}
	for name, value := range r.Properties {
		data[name] = value
	}
	if r.XIno != "" {
		data[xinoOption] = r.XIno
	}
	data["Used"] = d.usedText(quotaLayer)
	return nil
}

// usedText returns the bytes that a limited layer holds. A failure becomes text, so that
// the other entries are still shown.
func (d *Driver) usedText(quotaLayer quota.Layer) string {
	usage, err := d.limits.Usage(quotaLayer)
	if err != nil {
		return "unknown: " + err.Error()
	}
	return strconv.FormatUint(usage.Bytes, 10)
}

// Status returns the lines that `docker info` shows. It asks a suspended pool nothing that
// would wait.
func (d *Driver) Status(ctx context.Context) ([][2]string, error) {
	status, err := d.status()
	return status, d.addContext("status", "", err)
}

func (d *Driver) status() ([][2]string, error) {
	version, err := zfs.Version()
	if err != nil {
		return nil, err
	}
	kernel, err := versions.KernelRelease()
	if err != nil {
		return nil, err
	}
	lines := [][2]string{
		{"Backing Filesystem", "zfs"},
		{"Driver Version", buildinfo.Text()},
		{"Dataset", d.dataset},
		{"OpenZFS Version", version},
		{"Kernel Version", kernel},
		{"Supports d_type", "true"},
		{"Native Overlay Diff", "true"},
		{"Overlay Features Off", strings.Join(d.disabledFeatures, " ")},
	}
	pool, suspended := d.poolStatus()
	lines = append(lines, pool...)
	if suspended {
		return lines, nil
	}
	lines = append(lines, d.datasetStatus()...)
	lines = append(lines, [2]string{"Quota", d.quotaStatus()})
	lines = append(lines, d.snapshots.Status()...)
	return d.layerStatus(lines)
}

// poolStatus returns the pool's health, and whether the pool is suspended.
func (d *Driver) poolStatus() (lines [][2]string, suspended bool) {
	state, err := zfs.PoolState(d.pool())
	if err != nil {
		state = "unknown: " + err.Error()
	}
	return [][2]string{{"Pool", d.pool()}, {"Pool Health", state}}, state == zfs.PoolSuspended
}

// datasetStatus returns the lines that need /dev/zfs.
func (d *Driver) datasetStatus() [][2]string {
	if d.zfs == nil {
		return nil
	}
	stats, err := d.zfs.DatasetStats(d.dataset)
	if err != nil {
		return [][2]string{{"Space", "unknown: " + err.Error()}}
	}
	ratio := stats.CompressRatio()
	return [][2]string{
		{"Space Used", units.BytesSize(float64(stats.Used()))},
		{"Space Available", units.BytesSize(float64(stats.Available()))},
		{"Compression Ratio", fmt.Sprintf("%d.%02dx", ratio/100, ratio%100)},
		{"Sync", stats.Sync()},
		{"Copy-up", d.describeCopyUp().syncAdvice(stats.Sync())},
	}
}

// quotaStatus returns the quota mode, why it is not another one, and the default limits.
func (d *Driver) quotaStatus() string {
	mode, why := d.limits.Mode()
	text := string(mode)
	if why != nil {
		text += fmt.Sprintf(" (%v)", why)
	}
	if d.preset.Bytes > 0 {
		text += ", " + units.BytesSize(float64(d.preset.Bytes)) + " by default"
	}
	if d.preset.Inodes > 0 {
		text += fmt.Sprintf(", %d inodes by default", d.preset.Inodes)
	}
	return text
}

func (d *Driver) layerStatus(lines [][2]string) ([][2]string, error) {
	layers, err := d.countLayers()
	if err != nil {
		return nil, err
	}
	mounted, err := mountedLayers(d.home)
	if err != nil {
		return nil, err
	}
	waiting, err := d.countRemoving()
	if err != nil {
		return nil, err
	}
	return append(lines,
		[2]string{"Layers", strconv.Itoa(layers)},
		[2]string{"Mounts", strconv.Itoa(len(mounted))},
		[2]string{"Removals Under Way", strconv.Itoa(waiting)},
	), nil
}

// announce logs once what the administrator should know of this store.
func (d *Driver) announce() {
	log := logrus.WithFields(logrus.Fields{"home": string(d.home), "dataset": d.dataset})
	log.WithField("quota", d.quotaStatus()).Info("store opened")
	if d.zfs == nil {
		return
	}
	stats, err := d.zfs.DatasetStats(d.dataset)
	if err != nil || d.copyUp.Took == 0 {
		return
	}
	level := logrus.InfoLevel
	if stats.Sync() == "disabled" || d.copyUp.Waits != nil {
		level = logrus.WarnLevel
	}
	log.WithField("sync", stats.Sync()).Log(level, "copy-up: "+d.copyUp.syncAdvice(stats.Sync()))
}

// countLayers counts short links, of which each layer has one.
func (d *Driver) countLayers() (int, error) {
	names, err := readNames(d.home.path(linkDir))
	return len(names), err
}
