/* libFuzzer as a Python module: its loop calls a Python function with each input.
 *
 * run(arguments, one_input, mutate) -> exit code. one_input(bytes) must return; an exception ends
 * the run as a crash. mutate(bytes, max_size, seed) -> bytes makes a new input of an old one and
 * may call back vary(bytes, max_size) -> bytes, libFuzzer's own mutation. guard_end(bytes) makes
 * the address sanitizer report a read of the NUL that Python keeps behind the bytes.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <sanitizer/asan_interface.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerRunDriver(int *argc, char ***argv,
                        int (*callback)(const uint8_t *data, size_t size));
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static PyObject *one_input, *mutate;

static void end_as_crash(void)
{
    PyErr_Print();
    fflush(NULL);
    abort(); /* libFuzzer keeps the input and reports it. */
}

static int on_input(const uint8_t *data, size_t size)
{
    PyObject *result = PyObject_CallFunction(one_input, "y#", (const char *)data, (Py_ssize_t)size);
    if (result == NULL)
        end_as_crash();
    Py_DECREF(result);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
    PyObject *result = PyObject_CallFunction(mutate, "y#nI", (const char *)data, (Py_ssize_t)size,
                                             (Py_ssize_t)max_size, seed);
    Py_ssize_t length;
    char *bytes;
    if (result == NULL || PyBytes_AsStringAndSize(result, &bytes, &length) < 0)
        end_as_crash();
    if ((size_t)length > max_size)
        length = (Py_ssize_t)max_size;
    memcpy(data, bytes, (size_t)length);
    Py_DECREF(result);
    return (size_t)length;
}

static PyObject *vary(PyObject *self, PyObject *args)
{
    const char *data;
    Py_ssize_t size, max_size;
    PyObject *result;
    uint8_t *room;
    if (!PyArg_ParseTuple(args, "y#n", &data, &size, &max_size))
        return NULL;
    if (max_size < size)
        max_size = size;
    room = malloc((size_t)max_size + 1);
    if (room == NULL)
        return PyErr_NoMemory();
    memcpy(room, data, (size_t)size);
    size = (Py_ssize_t)LLVMFuzzerMutate(room, (size_t)size, (size_t)max_size);
    result = PyBytes_FromStringAndSize((const char *)room, size);
    free(room);
    return result;
}

static PyObject *guard_end(PyObject *self, PyObject *bytes)
{
    if (!PyBytes_CheckExact(bytes)) {
        PyErr_SetString(PyExc_TypeError, "bytes are asked for");
        return NULL;
    }
    if (PyBytes_GET_SIZE(bytes) > 1) /* Python shares those of one byte and of none. */
        ASAN_POISON_MEMORY_REGION(PyBytes_AS_STRING(bytes) + PyBytes_GET_SIZE(bytes), 1);
    Py_INCREF(bytes);
    return bytes;
}

static PyObject *run(PyObject *self, PyObject *args)
{
    PyObject *arguments;
    int argc, code;
    char **argv;
    if (!PyArg_ParseTuple(args, "O!OO", &PyList_Type, &arguments, &one_input, &mutate))
        return NULL;
    argc = (int)PyList_GET_SIZE(arguments);
    argv = calloc((size_t)argc + 1, sizeof(char *));
    if (argv == NULL)
        return PyErr_NoMemory();
    for (int i = 0; i < argc; i++) {
        argv[i] = (char *)PyUnicode_AsUTF8(PyList_GET_ITEM(arguments, i));
        if (argv[i] == NULL)
            return NULL;
    }
    code = LLVMFuzzerRunDriver(&argc, &argv, on_input);
    return PyLong_FromLong(code);
}

static PyMethodDef methods[] = {
    {"run", run, METH_VARARGS, NULL},
    {"vary", vary, METH_VARARGS, NULL},
    {"guard_end", guard_end, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_engine", NULL, -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__engine(void)
{
    return PyModule_Create(&module);
}
