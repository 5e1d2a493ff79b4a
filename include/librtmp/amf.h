/* librtmp's AMF interface, as rrelay provides it: Action Message Format values in the bytes of a message.
 *
 * Decoding copies nothing: the strings of a decoded object point into the data it was decoded from, are not terminated
 * and live as long as that data. Only arrays of properties are allocated; AMF_Reset() frees them, at every depth.
 * Encoders write between two pointers and return the one behind what they wrote, or NULL where it does not fit. */
#ifndef __AMF_H__
#define __AMF_H__

#include <stdint.h>

#ifndef TRUE
#define TRUE 1
#define FALSE 0
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The type of a property: AMF0's markers. */
typedef enum {
    AMF_NUMBER = 0,
    AMF_BOOLEAN,
    AMF_STRING,
    AMF_OBJECT,
    AMF_MOVIECLIP, /* never on a wire */
    AMF_NULL,
    AMF_UNDEFINED,
    AMF_REFERENCE,
    AMF_ECMA_ARRAY,
    AMF_OBJECT_END,
    AMF_STRICT_ARRAY,
    AMF_DATE,
    AMF_LONG_STRING,
    AMF_UNSUPPORTED,
    AMF_RECORDSET, /* never on a wire */
    AMF_XML_DOC,
    AMF_TYPED_OBJECT,
    AMF_AVMPLUS, /* an AMF3 value follows */
    AMF_INVALID = 0xff
} AMFDataType;

/* AMF3's markers. */
typedef enum {
    AMF3_UNDEFINED = 0,
    AMF3_NULL,
    AMF3_FALSE,
    AMF3_TRUE,
    AMF3_INTEGER,
    AMF3_DOUBLE,
    AMF3_STRING,
    AMF3_XML_DOC,
    AMF3_DATE,
    AMF3_ARRAY,
    AMF3_OBJECT,
    AMF3_XML,
    AMF3_BYTE_ARRAY
} AMF3DataType;

/* A string with its length. It belongs to somebody else and need not end with NUL. */
typedef struct AVal {
    char *av_val;
    int av_len;
} AVal;

/* An AVal of a string literal, as an initialiser. */
#define AVC(str) { str, sizeof(str) - 1 }
/* Whether two AVals (by pointer) have the same bytes. */
#define AVMATCH(a1, a2) ((a1)->av_len == (a2)->av_len && !memcmp((a1)->av_val, (a2)->av_val, (a1)->av_len))

struct AMFObjectProperty;

/* Properties in their order. The array is from malloc() with room for the next multiple of 16. */
typedef struct AMFObject {
    int o_num;
    struct AMFObjectProperty *o_props;
} AMFObject;

/* A value, with a name inside objects. A boolean lies in p_number. */
typedef struct AMFObjectProperty {
    AVal p_name;
    AMFDataType p_type;
    union {
        double p_number;
        AVal p_aval;
        AMFObject p_object;
    } p_vu;
    int16_t p_UTCoffset; /* of a date, in minutes */
} AMFObjectProperty;

char *AMF_EncodeString(char *output, char *outend, const AVal *str);
char *AMF_EncodeNumber(char *output, char *outend, double dVal);
char *AMF_EncodeInt16(char *output, char *outend, short nVal);
char *AMF_EncodeInt24(char *output, char *outend, int nVal);
char *AMF_EncodeInt32(char *output, char *outend, int nVal);
char *AMF_EncodeBoolean(char *output, char *outend, int bVal);

/* Name and value, as they stand inside an object. */
char *AMF_EncodeNamedString(char *output, char *outend, const AVal *name, const AVal *value);
char *AMF_EncodeNamedNumber(char *output, char *outend, const AVal *name, double dVal);
char *AMF_EncodeNamedBoolean(char *output, char *outend, const AVal *name, int bVal);

/* Big-endian numbers and the values behind a marker. The data must be long enough. */
unsigned short AMF_DecodeInt16(const char *data);
unsigned int AMF_DecodeInt24(const char *data);
unsigned int AMF_DecodeInt32(const char *data);
void AMF_DecodeString(const char *data, AVal *str);
void AMF_DecodeLongString(const char *data, AVal *str);
int AMF_DecodeBoolean(const char *data);
double AMF_DecodeNumber(const char *data);

/* An object's properties in one of the three shapes AMF has for them. */
char *AMF_Encode(AMFObject *obj, char *pBuffer, char *pBufEnd);
char *AMF_EncodeEcmaArray(AMFObject *obj, char *pBuffer, char *pBufEnd);
char *AMF_EncodeArray(AMFObject *obj, char *pBuffer, char *pBufEnd);

/* The bytes taken, or -1; what was read before the error is in the object, which must be reset either way. Objects
 * nested deeper than 128 levels are an error. */
int AMF_Decode(AMFObject *obj, const char *pBuffer, int nSize, int bDecodeName);
int AMF_DecodeArray(AMFObject *obj, const char *pBuffer, int nSize, int nArrayLen, int bDecodeName);
int AMF3_Decode(AMFObject *obj, const char *pBuffer, int nSize, int bDecodeName);
void AMF_Dump(AMFObject *obj);
void AMF_Reset(AMFObject *obj);

void AMF_AddProp(AMFObject *obj, const AMFObjectProperty *prop);
int AMF_CountProp(AMFObject *obj);
/* By place, or by name where nIndex is negative. Never NULL: what is not there has type AMF_INVALID and must only be
 * read. */
AMFObjectProperty *AMF_GetProp(AMFObject *obj, const AVal *name, int nIndex);

AMFDataType AMFProp_GetType(AMFObjectProperty *prop);
void AMFProp_SetNumber(AMFObjectProperty *prop, double dval);
void AMFProp_SetBoolean(AMFObjectProperty *prop, int bflag);
void AMFProp_SetString(AMFObjectProperty *prop, AVal *str);
void AMFProp_SetObject(AMFObjectProperty *prop, AMFObject *obj);

void AMFProp_GetName(AMFObjectProperty *prop, AVal *name);
void AMFProp_SetName(AMFObjectProperty *prop, AVal *name);
double AMFProp_GetNumber(AMFObjectProperty *prop);
int AMFProp_GetBoolean(AMFObjectProperty *prop);
/* Empty where the property is something else. The object is the property's own: only one of the two may be reset. */
void AMFProp_GetString(AMFObjectProperty *prop, AVal *str);
void AMFProp_GetObject(AMFObjectProperty *prop, AMFObject *obj);

int AMFProp_IsValid(AMFObjectProperty *prop);

char *AMFProp_Encode(AMFObjectProperty *prop, char *pBuffer, char *pBufEnd);
int AMF3Prop_Decode(AMFObjectProperty *prop, const char *pBuffer, int nSize, int bDecodeName);
int AMFProp_Decode(AMFObjectProperty *prop, const char *pBuffer, int nSize, int bDecodeName);

void AMFProp_Dump(AMFObjectProperty *prop);
void AMFProp_Reset(AMFObjectProperty *prop);

/* The names of an AMF3 class. The array is from malloc() with room for the next multiple of 16. */
typedef struct AMF3ClassDef {
    AVal cd_name;
    char cd_externalizable;
    char cd_dynamic;
    int cd_num;
    AVal *cd_props;
} AMF3ClassDef;

void AMF3CD_AddProp(AMF3ClassDef *cd, AVal *prop);
AVal *AMF3CD_GetProp(AMF3ClassDef *cd, int idx);

#ifdef __cplusplus
}
#endif

#endif /* __AMF_H__ */
