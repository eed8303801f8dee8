package quota

import (
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestParseBytes(t *testing.T) {
	for value, want := range map[string]uint64{
		"0": 0, "1M": 1 << 20, "500m": 500 << 20, "10G": 10 << 30, "10gb": 10 << 30, "1.5GiB": 3 << 29, "1048576": 1 << 20, "1P": 1 << 50,
	} {
		got, err := ParseBytes("size", value)
		if err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", value, got, err, want)
		}
	}
	for _, value := range []string{"", "x", "-1", "-5G", "1X", "G", "10 000", "NaN", "inf", "1048575", "1K", "2000P", "99999999999999P", "0x10", "1M;", "1M\n"} {
		_, err := ParseBytes("size", value)
		wantError(t, err, fault.Invalid, "size=")
	}
}

func TestParseInodes(t *testing.T) {
	for value, want := range map[string]uint64{"0": 0, "16": 16, "1000000": 1_000_000} {
		got, err := ParseInodes("inodes", value)
		if err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", value, got, err, want)
		}
	}
	for _, value := range []string{"", "x", "-1", "+16", "016", " 16", "16 ", "1e3", "15", "1", "16k", "0x20", "999999999999999999", "99999999999999999999999"} {
		_, err := ParseInodes("inodes", value)
		wantError(t, err, fault.Invalid, "inodes=")
	}
}

func TestParseMode(t *testing.T) {
	for value, want := range map[string]Mode{"auto": Auto, "Project": Project, "dataset": Dataset, "OFF": Off} {
		got, err := ParseMode("overlayzfs.quota", value)
		must(t, err)
		equal(t, value, got, want)
	}
	for _, value := range []string{"", "on", "projects", "auto "} {
		_, err := ParseMode("overlayzfs.quota", value)
		wantError(t, err, fault.Invalid, "want auto, project, dataset or off")
	}
}

func TestSpecEmpty(t *testing.T) {
	equal(t, "nothing", Spec{}.Empty(), true)
	equal(t, "no properties", Spec{Properties: Properties{}}.Empty(), true)
	equal(t, "bytes", Spec{Limits: Limits{Bytes: 1}}.Empty(), false)
	equal(t, "files", Spec{Limits: Limits{Inodes: 1}}.Empty(), false)
	equal(t, "properties", Spec{Properties: Properties{"sync": "always"}}.Empty(), false)
}

func TestLimitsThatDoNotHold(t *testing.T) {
	used := Usage{Bytes: 100, Inodes: 10}
	for _, enough := range []Limits{{}, {Bytes: 100}, {Inodes: 10}, {Bytes: 1 << 40, Inodes: 1 << 40}} {
		must(t, enough.CheckUsage(used))
	}
	wantError(t, Limits{Bytes: 99}.CheckUsage(used), fault.LimitReached, "99 bytes is below the 100")
	wantError(t, Limits{Bytes: 100, Inodes: 9}.CheckUsage(used), fault.LimitReached, "9 files is below the 10")
}

func TestEncodeProperties(t *testing.T) {
	const zstd = 16
	for _, c := range []struct {
		name, value string
		want        uint64
	}{
		{"recordsize", "512", 512}, {"recordsize", "4k", 4 << 10}, {"recordsize", "128K", 128 << 10}, {"recordsize", "1M", 1 << 20},
		{"compression", "on", 1}, {"compression", "off", 2}, {"compression", "lzjb", 3},
		{"compression", "gzip-1", 5}, {"compression", "gzip", 10}, {"compression", "gzip-6", 10}, {"compression", "gzip-9", 13},
		{"compression", "zle", 14}, {"compression", "lz4", 15},
		{"compression", "zstd", zstd}, {"compression", "zstd-1", zstd | 1<<7}, {"compression", "zstd-19", zstd | 19<<7},
		{"sync", "standard", 0}, {"sync", "always", 1}, {"sync", "disabled", 2},
		{"logbias", "latency", 0}, {"logbias", "throughput", 1},
		{"primarycache", "none", 0}, {"primarycache", "metadata", 1}, {"primarycache", "all", 2},
	} {
		got, err := Properties{c.name: c.value}.encode()
		if err != nil || got[c.name] != c.want {
			t.Errorf("%s=%s: %d, %v; want %d", c.name, c.value, got[c.name], err, c.want)
		}
	}
}

func TestPropertiesThatAreRefused(t *testing.T) {
	for name, values := range map[string][]string{
		"recordsize":   {"", "0", "256", "2M", "3K", "100000", "-4K", "x"},
		"compression":  {"", "gzip-0", "gzip-10", "gzip-06", "zstd-0", "zstd-20", "zstd-fast", "zstd-fast-1", "zstd-", "lz4-1", "LZ4", "zstd-300"},
		"sync":         {"", "on", "Always"},
		"logbias":      {"speed"},
		"primarycache": {"off"},
	} {
		for _, value := range values {
			wantError(t, Properties{name: value}.Check(), fault.Invalid, name+"=", propertyTable[name].values)
		}
	}
	for _, name := range []string{"mountpoint", "refquota", "quota", "readonly", "overlayzfs:layer", "encryption", ""} {
		wantError(t, Properties{name: "x"}.Check(), fault.Invalid, strings.Join(PropertyNames(), ", "))
	}
}
