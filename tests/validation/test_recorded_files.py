"""Every format that the importer opens, from known bits: a table of small synthetic files.

The layouts of the oscilloscope exports follow what the makers' instruments write (docs/recordings.md); the files are
synthetic, written here from known bits, and none is a real export.
"""

import base64
import bz2
import gzip
import io
import json
import lzma
import zipfile

import numpy as np
import pytest
from scipy.io import savemat

from voltaspin.core.errors import InputError
from voltaspin.noise import RecordedSource
from voltaspin.noise.waveform import Trace

N = 1200
BITS = (np.random.default_rng(11).random(N) < 0.5).astype(np.uint8)
PACKED = np.packbits(BITS)
DIGITS = "".join(map(str, BITS))
TIME = np.arange(N) * 2e-6 - 1e-4
VOLTS = np.where(BITS == 1, 0.3, -0.1) + 0.02 * np.random.default_rng(12).standard_normal(N)
OHMS = np.where(BITS == 1, 6.1e3, 4.8e3) + 90 * np.random.default_rng(13).standard_normal(N)


def rows(*columns, sign=",", decimal=".", end="", form="{:.6e}"):
    lines = (sign.join(form.format(x) for x in row).replace(".", decimal) + end for row in zip(*columns, strict=True))
    return "\n".join(lines) + "\n"


def numpy_file(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def zipped(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def matlab(**variables):
    file = io.BytesIO()
    savemat(file, variables, do_compression=True)
    return file.getvalue()


def hdf5(userblock=0, matlab=None, **sets):
    h5py = pytest.importorskip("h5py")
    file = io.BytesIO()
    with h5py.File(file, "w", userblock_size=userblock) as out:
        for name, data in sets.items():
            made = out.create_dataset(name, data=data, compression="gzip" if np.ndim(data) else None)
            if matlab:
                made.attrs["MATLAB_class"] = np.bytes_(matlab)
    data = file.getvalue()
    return (b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(userblock, b" ") + data[userblock:]) if userblock else data


def wrapped(text, n=61):
    return "\n".join(text[i : i + n] for i in range(0, len(text), n)) + "\n"


PACKED_FILES = {
    "packed": (PACKED.tobytes(), {}),
    "packed, lowest bit first": (np.packbits(BITS, bitorder="little").tobytes(), {"bit_order": "lsb"}),
    "text": (DIGITS.encode(), {}),
    "text in lines": (wrapped(DIGITS).encode(), {}),
    "text in lines of Windows": (wrapped(DIGITS).replace("\n", "\r\n").encode(), {}),
    "text with commas": (",".join(DIGITS).encode(), {}),
    "text, one bit a line": ("\n".join(DIGITS).encode(), {}),
    "text with comments": (f"# device 7, 2024-01-01\n{wrapped(DIGITS[:600])}# pause 1\n{DIGITS[600:]}".encode(), {}),
    "text with a byte order mark": (b"\xef\xbb\xbf" + DIGITS.encode(), {}),
    "text in UTF-16": (wrapped(DIGITS).encode("utf-16"), {}),
    "text in UTF-16, big end first": (b"\xfe\xff" + DIGITS.encode("utf-16-be"), {}),
    "text in UTF-32": (DIGITS.encode("utf-32"), {}),
    "one bit a byte": (BITS.tobytes(), {}),
    "hex": (PACKED.tobytes().hex().encode(), {}),
    "hex in lines, capitals": (wrapped(PACKED.tobytes().hex().upper(), 64).encode(), {}),
    "hex with 0x and commas": (", ".join(f"0x{b:02X}" for b in PACKED).encode(), {}),
    "hex in pairs": (PACKED.tobytes().hex(" ").encode(), {}),
    "hex with colons": (PACKED.tobytes().hex(":").encode(), {}),
    "base64": (base64.b64encode(PACKED.tobytes()), {}),
    "base64 in lines": (base64.encodebytes(PACKED.tobytes()), {}),
    "base64 for addresses": (base64.urlsafe_b64encode(PACKED.tobytes()).rstrip(b"="), {}),
    "gzip of packed bits": (gzip.compress(PACKED.tobytes()), {}),
    "gzip of text": (gzip.compress(DIGITS.encode()), {}),
    "bzip2 of text": (bz2.compress(wrapped(DIGITS).encode()), {}),
    "xz of one bit a byte": (lzma.compress(BITS.tobytes()), {}),
    "two xz streams": (lzma.compress(DIGITS[:500].encode()) + lzma.compress(DIGITS[500:].encode()), {}),
    "zip of text": (zipped(**{"run/bits.txt": DIGITS, "__MACOSX/run/._bits.txt": b"\0\5\26\7"}), {}),
    "zip of packed bits": (zipped(**{"bits.bin": PACKED.tobytes()}), {}),
    "npy of truth values": (numpy_file(BITS.astype(bool)), {}),
    "npy of int64": (numpy_file(BITS.astype(np.int64)), {}),
    "npy of float64 0 and 1": (numpy_file(BITS.astype(float)), {}),
    "npy of two dimensions": (numpy_file(BITS.reshape(30, 40)), {}),
    "npy, Fortran order": (numpy_file(np.asfortranarray(BITS.reshape(30, 40))), {}),
    "npy of packed bytes": (numpy_file(PACKED), {}),
    "npy of packed bytes, lowest bit first": (
        numpy_file(np.packbits(BITS, bitorder="little")), {"bit_order": "lsb", "sample_type": "packed"}),
    "npy, a field": (numpy_file(np.array([(0.5, b) for b in BITS], [("t", "f8"), ("bit", "u1")])), {"column": "bit"}),
    "npz of one array": (npz(bits=BITS), {}),
    "npz of two arrays": (npz(bits=BITS, times=TIME), {"column": "bits"}),
    "npy in gzip": (gzip.compress(numpy_file(BITS)), {}),
    "MATLAB logical": (matlab(bits=BITS.astype(bool)), {}),
    "MATLAB double with a time axis": (matlab(t=TIME, bits=BITS.astype(float)), {}),
    "MATLAB 7.3": (lambda: hdf5(512, "logical", bits=BITS[None, :]), {}),
    "MATLAB 7.3, a matrix": (lambda: hdf5(512, "double", bits=BITS.reshape(30, 40).T.astype(float)), {}),
    "HDF5": (lambda: hdf5(bits=BITS), {}),
    "HDF5 in a group": (lambda: hdf5(**{"run/bits": BITS, "run/volts": VOLTS}), {"column": "run/bits"}),
    "HDF5 of two dimensions": (lambda: hdf5(bits=BITS.reshape(30, 40)), {}),
    "JSON list": (json.dumps(BITS.tolist()).encode(), {}),
    "JSON list of lists": (json.dumps(BITS.reshape(30, 40).tolist(), indent=1).encode(), {}),
    "JSON truth values": (json.dumps(BITS.astype(bool).tolist()).encode(), {}),
    "JSON object": (json.dumps({"device": "A7", "bits": BITS.tolist()}).encode(), {}),
    "JSON text": (json.dumps({"device": "A7", "bits": DIGITS}).encode(), {"column": "bits"}),
    "CSV column with a name": (("bit\n" + "\n".join(DIGITS)).encode(), {}),
    "CSV of bytes 0 to 255": (("byte\n" + "\n".join(map(str, PACKED)) + "\n").encode(), {}),
    "CSV of index and bit": (("n,bit\n" + rows(range(N), BITS, form="{}")).encode(), {}),
    "CSV of index and bit without names": (rows(range(N), BITS, form="{}").encode(), {}),
    "CSV of quoted numbers": (('"n","bit"\n' + "".join(f'"{i}","{b}"\n' for i, b in enumerate(BITS))).encode(), {}),
}  # fmt: skip

VOLT = {"threshold": "0.1V"}
FIT = {"threshold": "fit"}
TEK_OLD = [("Record Length", N), ("Sample Interval", 2e-6), ("Trigger Point", 50), ("", ""), ("Source", "CH1"),
           ("Vertical Units", "V"), ("Vertical Scale", 0.1), ("Horizontal Units", "s"), ("Pt Fmt", "Y")]  # fmt: skip

LEVELS = {
    "CSV, volts": (("t,V\n" + rows(TIME, VOLTS)), {"threshold": 0.1}),
    "CSV, signed volts fitted": (("t,V\n" + rows(TIME, VOLTS - 0.1)), FIT),
    "CSV, all negative": (rows(-VOLTS[::1] * 0 + VOLTS - 5), {"threshold": "-4.9V"}),
    "CSV, millivolts in the header": (("time (us),V (mV)\n" + rows(1e6 * TIME, 1e3 * VOLTS)), VOLT),
    "CSV, microamperes": (("t,I [uA]\n" + rows(TIME, 1e3 * VOLTS)), {"threshold": "100uA"}),
    "CSV, kilohm": (("R (kOhm)\n" + rows(OHMS / 1e3)), {"threshold": "5.45kohm"}),
    "CSV, kilohm said": (rows(OHMS / 1e3), {"threshold": "5.45kohm", "unit": "kohm"}),
    "CSV, ohm, a bare prefix": (rows(OHMS), {"threshold": "5.45k"}),
    "decimal comma, one column": (rows(OHMS / 1e3, decimal=",", form="{:.3f}"), {"threshold": 5.45}),
    "decimal comma, semicolon": (("t;R\n" + rows(TIME, OHMS, sign=";", decimal=",")), {"threshold": "5.45k"}),
    "decimal comma, tab": (("t\tR\n" + rows(TIME, OHMS, sign="\t", decimal=",")), {"threshold": "5.45kohm"}),
    "decimal comma, quoted": (
        "t,R\n" + "".join(f'"{t:.7f}","{r:.3f}"\n'.replace(".", ",") for t, r in zip(TIME, OHMS, strict=True)),
        {"threshold": "5.45kohm"}),
    "tabs": (("t\tR\n" + rows(TIME, OHMS, sign="\t")), {"threshold": "5450ohm"}),
    "semicolon": (("t;R\n" + rows(TIME, OHMS, sign=";")), {"threshold": "5450ohm"}),
    "spaces": (rows(TIME, OHMS, sign="   "), {"threshold": "5450ohm"}),
    "savetxt": (("# time, R (ohm)\n" + rows(TIME, OHMS)), {"threshold": "5.45kohm"}),
    "several columns": (("t,A,B\n" + rows(TIME, OHMS[::-1], VOLTS)), {"threshold": "0.1V", "column": "B"}),
    "column by number": (("t,A,B\n" + rows(TIME, OHMS[::-1], VOLTS)), {"threshold": "0.1V", "column": 2}),
    "lines above": (("Lab 3\nOperator: K.\nDate,2024-01-02\n\nt,V\n" + rows(TIME, VOLTS)), VOLT),
    "CSV in UTF-16": (("t\tV\n" + rows(TIME, VOLTS, sign="\t")).encode("utf-16"), VOLT),
    "CSV in gzip": (gzip.compress(("t,V\n" + rows(TIME, VOLTS)).encode()), VOLT),
    "npy of volts": (numpy_file(VOLTS), VOLT),
    "npy of time and volts": (numpy_file(np.column_stack([TIME, VOLTS])), VOLT),
    "npy of volts, float32, fitted": (numpy_file(VOLTS.astype(np.float32)), FIT),
    "npz of volts": (npz(t=TIME, v=VOLTS), {**VOLT, "column": "v"}),
    "MATLAB volts": (matlab(A=VOLTS, Tinterval=2e-6), VOLT),
    "HDF5 volts": (lambda: hdf5(time=TIME, volts=VOLTS), VOLT),
    "JSON of volts": (json.dumps(VOLTS.tolist()), VOLT),
    "12-bit words": ((2048 + 500 * VOLTS).astype("<u2").tobytes(), {"sample_type": "uint16", "threshold": 2098}),
    "16-bit words, big end first": (
        (2e4 * VOLTS).astype(">i2").tobytes(), {"sample_type": "int16", "byte_order": "big", "threshold": 2000}),
    "8-bit words, fitted": ((128 + 200 * VOLTS).astype(np.uint8).tobytes(), {"sample_type": "uint8", **FIT}),
    "float32 words": (VOLTS.astype("<f4").tobytes(), {"sample_type": "float32", "threshold": 0.1}),
    "float32 words with a unit": (
        (1e3 * VOLTS).astype("<f4").tobytes(), {"sample_type": "float32", "threshold": "0.1V", "unit": "mV"}),
    "Keysight InfiniiVision": (("x-axis,1\nsecond,Volt\n" + rows(TIME, VOLTS, form="{:+.9E}")), VOLT),
    "Keysight InfiniiVision, channel 2": (
        ("x-axis,1,2\nsecond,Volt,Volt\n" + rows(TIME, VOLTS[::-1], VOLTS)), {**VOLT, "column": "2"}),
    "Keysight Infiniium": (
        ("Revision:,0\nType:,raw\nStart:,0\nPoints:,1200\nCount:,1\nXDispRange:,2E-3\nXInc:,2E-6\nXOrg:,-1E-4\n"
         "XUnits:,second\nYUnits:,Volt\nMax Bandwidth:,2E9\nData:,\n" + rows(TIME, VOLTS)), VOLT),
    "Tektronix, one table": (
        "".join(f"{a},{b},,{t:.9f},{v:.6f},\n" for (a, b), t, v in
                zip(TEK_OLD + [("", "")] * (N - len(TEK_OLD)), TIME, VOLTS, strict=True)), VOLT),
    "Tektronix": (
        ("Model,MSO58\nFirmware Version,2.0.3\n\nWaveform Type,ANALOG\nPoint Format,Y\nHorizontal Units,s\n"
         "Sample Interval,2e-06\nRecord Length,1200\nGating,0.0% to 100.0%\nProbe Attenuation,1\nVertical Units,V\n"
         "Vertical Offset,0\nVertical Scale,0.1\n,\n,\nLabel,read\nTIME,CH1\n" + rows(TIME, VOLTS)), VOLT),
    "Tektronix, two channels": (
        ("Model,DPO2024B\nVertical Units,V,A\nSource,CH1,CH2\nTIME,CH1,CH2\n"
         + rows(TIME, 5 * VOLTS[::-1], VOLTS)),
        {"threshold": "0.1A", "column": "CH2"}),
    "Rohde & Schwarz": (("in s,C1 in V\n" + rows(TIME, VOLTS, form="{:.7E}")), VOLT),
    "Rohde & Schwarz, values only": (rows(VOLTS), VOLT),
    "Teledyne LeCroy": (
        ("LECROYWR640Zi,50011,Waveform\nSegments,1,SegmentSize,1200\nSegment,TrigTime,TimeSinceSegment1\n"
         "#1,07-Mar-2024 07:39:21,0                 \nTime,Ampl\n" + rows(TIME, VOLTS)), VOLT),
    "Teledyne LeCroy, segments": (
        ("LECROYHDO4104,19359,Waveform\nSegments,3,SegmentSize,400\nSegment,TrigTime,TimeSinceSegment1\n"
         "#1,07-Mar-2024 07:39:21,0\n#2,07-Mar-2024 07:39:22,1.0\n#3,07-Mar-2024 07:39:23,2.0\nTime,Ampl\n"
         + rows(np.tile(TIME[:400], 3), VOLTS)), VOLT),
    "Rigol, sequence": (
        ("X,CH1,Start,Increment,\nSequence,Volt,-1.000000e-04,2.000000e-06\n"
         + rows(range(N), VOLTS, end=",", form="{:.6g}")), VOLT),
    "Rigol, time": (("Time(s),CH1V\n" + rows(TIME, VOLTS)), VOLT),
    "Rigol, no time": (("CH1V,t0 =-1.0e-04,tInc = 2.0e-06,\n" + rows(VOLTS, end=",")), VOLT),
    "Rigol, older": (("Time,X(CH2),\nSecond,Volt,\n" + rows(TIME, VOLTS, end=",")), VOLT),
    "Siglent": (
        ("Record Length,Analog:1200,\nSample Interval,Analog:2.000000E-06,\nVertical Units,CH3:V,,\n"
         "Vertical Scale,CH3:0.1,,\n"
         "Vertical Offset,CH3:0.0,,\nHorizontal Units,S,\nHorizontal Scale,1.0E-04,\nModel Number,SDS2104X,\n"
         "Serial Number,X,\nSoftware Version,1.3,\nSource,CH3\nSecond,Value\n"
         + rows(TIME, VOLTS, form="{:+.6E}")),
        VOLT),
    "Siglent, short": (("Source,CH1\nSecond,Volt\n" + rows(TIME, VOLTS, form="{:.11f}")), VOLT),
    "Yokogawa": (
        ('"Model Name","DLM2054"\n"BlockNumber",1\n"TraceName","CH1"\n"BlockSize",1200\n"VUnit","V"\n'
         '"SampleRate",500000\n'
         '"HResolution",2.0e-6\n"HOffset",-1.0e-4\n"HUnit","s"\n"Date","2024/01/02"\n\n'
         + "".join(f",{v:.6e}\n" for v in VOLTS)), VOLT),
    "PicoScope": (("Time,Channel A\n(ms),(mV)\n\n" + rows(1e3 * TIME, 1e3 * VOLTS, form="{:.8f}")), VOLT),
    "PicoScope, German": (
        ("Zeit;Kanal A\n(ms);(mV)\n\n"
         + rows(1e3 * TIME, 1e3 * VOLTS, sign=";", decimal=",", form="{:.8f}")), VOLT),
    "LabVIEW measurement": (
        ("LabVIEW Measurement\t\nWriter_Version\t2\nReader_Version\t2\nSeparator\tTab\nDecimal_Separator\t,\n"
         "Multi_Headings\tNo\nX_Columns\tOne\nTime_Pref\tRelative\nDate\t2024/07/22\nTime\t17:18:18,9389\n"
         "***End_of_Header***\t\n\t\nChannels\t1\nSamples\t1200\nDate\t2024/07/22\nTime\t17:18:18,9389\n"
         "Y_Unit_Label\tVolts\n"
         "X_Dimension\tTime\nX0\t0,0000000000000000E+0\nDelta_X\t0,000002\n***End_of_Header***\t\n"
         "X_Value\tVoltage\tComment\n"
         + rows(TIME, VOLTS, sign="\t", decimal=",")), VOLT),
    "GW Instek": (
        ("Memory Length,1200,\nTrigger Level,-2.4E+01,\nSource,CH2,\nVertical Units,V,\nVertical Scale,5.0E-02,\n"
         "Horizontal Units,S,\nSampling Period,2.0E-06,\nWaveform Data,\n" + rows(VOLTS, end=",")), VOLT),
}  # fmt: skip


@pytest.mark.parametrize("case", [*PACKED_FILES, *LEVELS])
def test_the_known_bits_come_back(tmp_path, case):
    data, options = {**PACKED_FILES, **LEVELS}[case]
    path = tmp_path / "recording"  # no suffix: the content decides
    data = data() if callable(data) else data
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    source = RecordedSource(path, **options)
    assert source.bits_left == N, source.understood
    assert np.array_equal(np.unpackbits(source.bits(N), count=N), BITS), source.understood
    line = str(source.understood)
    assert "\n" not in line
    assert f"{N} bits" in line
    json.dumps(source.provenance.to_json(), allow_nan=False)


#: Layouts that hold neither times nor an interval.
UNTIMED = {
    "CSV, all negative", "CSV, kilohm", "CSV, kilohm said", "CSV, ohm, a bare prefix", "decimal comma, one column",
    "npy of volts", "npz of volts", "npy of volts, float32, fitted", "JSON of volts", "12-bit words",
    "16-bit words, big end first", "8-bit words, fitted", "float32 words", "float32 words with a unit",
    "Rohde & Schwarz, values only",
}  # fmt: skip


@pytest.mark.parametrize("case", LEVELS)
def test_the_times_of_a_waveform_come_back(tmp_path, case):
    data, options = LEVELS[case]
    options = {name: value for name, value in options.items() if name != "threshold"}
    path = tmp_path / "recording"
    data = data() if callable(data) else data
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    if case in UNTIMED:
        with pytest.raises(InputError, match="give sample_rate="):
            Trace.open(path, **options)
        assert Trace.open(path, sample_rate=5e5, **options).n == N
    elif "segments" in case:
        with pytest.raises(InputError, match=r"line 408.*run backwards"):
            Trace.open(path, **options)
    else:
        trace = Trace.open(path, **options)
        assert trace.n == N
        assert trace.step == pytest.approx(2e-6, rel=1e-5), trace.text


@pytest.mark.parametrize("case", [*PACKED_FILES, *LEVELS])
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, case):
    data, options = {**PACKED_FILES, **LEVELS}[case]
    data = data() if callable(data) else data
    data = data.encode() if isinstance(data, str) else data
    rng = np.random.default_rng(len(case))
    for turn in range(6):
        damaged = bytearray(data)
        if turn % 3 == 0:
            for _ in range(4):
                damaged[rng.integers(min(len(data), 600))] ^= 1 << rng.integers(8)
        elif turn % 3 == 1:
            damaged = damaged[: rng.integers(1, len(data))]
        else:
            at = rng.integers(len(data))
            damaged[at : at + rng.integers(1, 50)] = rng.bytes(rng.integers(1, 50))
        path = tmp_path / "damaged"
        path.write_bytes(bytes(damaged))
        try:
            line = str(RecordedSource(path, **options if turn < 3 else {}).understood)
        except InputError as error:
            line = str(error)
        assert "\n" not in line
